"""Reports in, answers out: intake, geocoder, classifier, twins and replies."""
