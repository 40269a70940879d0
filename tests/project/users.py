"""Users and their sessions."""

from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections


@sync_to_async
def log_in(username="ada", *permissions):
    """Return the headers of a peer that has logged in."""
    user, _ = User.objects.get_or_create(username=username)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session["color"] = "green"
    session.save()
    connections.close_all()
    return {"cookie": f"sessionid={session.session_key}"}


@sync_to_async
def change_password(username="ada"):
    """Give a user another password, which ends the sessions of that user."""
    user = User.objects.get(username=username)
    user.set_password(user.password + "more")
    user.save()
    connections.close_all()


@sync_to_async
def expire_sessions():
    """Forget every session."""
    SessionStore.get_model_class().objects.all().delete()
    connections.close_all()
