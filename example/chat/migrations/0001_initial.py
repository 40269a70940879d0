from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Room",
            fields=[
                ("name", models.SlugField(primary_key=True, serialize=False)),
            ],
        ),
    ]
