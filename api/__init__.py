"""Delivery: the FastAPI app, its pages, the Celery worker, the command line, the wiring and the migrations."""
