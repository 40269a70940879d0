"""The server of manage.py runserver."""
