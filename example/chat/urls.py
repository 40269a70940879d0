"""The URLs of the chat."""

from django.urls import path
from django.views.generic import TemplateView

from . import views

app_name = "chat"

urlpatterns = [
    path("", views.lobby, name="lobby"),
    path("chat/<slug:room>/", views.room, name="room"),
    path("ws/chat/<slug:room>/", views.chat, name="socket"),
    path("ws/echo/", views.echo, name="echo"),
    # Templates, so that the demo needs no server for static files.
    path(
        "chat.css",
        TemplateView.as_view(template_name="chat/chat.css", content_type="text/css"),
        name="css",
    ),
    path(
        "chat.js",
        TemplateView.as_view(
            template_name="chat/chat.js", content_type="text/javascript"
        ),
        name="js",
    ),
]
