"""The URLs of the chat."""

from django.urls import path

from . import views

app_name = "chat"

urlpatterns = [
    path("", views.lobby, name="lobby"),
    path("chat/<slug:room>/", views.room, name="room"),
    path("ws/chat/<slug:room>/", views.chat, name="socket"),
    path("ws/echo/", views.echo, name="echo"),
]
