"""HTTP: Django's own handling of a request, with fewer changes of the thread."""
