"""JSON and other answers for programs: each module exports `router`; `api.app` includes it by name."""
