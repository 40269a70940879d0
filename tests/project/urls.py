"""No URL of its own: a test brings its URLconf with it."""

urlpatterns: list = []
