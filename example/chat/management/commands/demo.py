"""Make everything ready for the demo."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

USERS = {"ada": "lovelace", "grace": "hopper"}


class Command(BaseCommand):
    """Make the database and two users; a second run puts their passwords back."""

    help = "Makes the database and the users ada and grace for the demo."

    def handle(self, **options):
        if not settings.DEBUG:
            raise CommandError(
                "The passwords of the demo are known to everybody. Set DEBUG first."
            )
        call_command("migrate", verbosity=0)
        self.stdout.write(f"Database: {settings.DATABASES['default']['NAME']}")
        for name, password in USERS.items():
            user, created = get_user_model().objects.get_or_create(username=name)
            user.set_password(password)
            user.save()
            done = "created" if created else "password set again"
            self.stdout.write(f"User: {name}, password: {password} ({done})")
