"""What a visitor fills in."""

from django import forms


class RoomForm(forms.Form):
    """The name of a room, new or not."""

    room = forms.SlugField(
        max_length=50,
        widget=forms.TextInput({"autocomplete": "off", "aria-describedby": "hint"}),
    )
