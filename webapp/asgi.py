"""The ASGI entry: pages and doors through Django, sockets through Channels."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

django_app = get_asgi_application()

from webapp.bodies import limiting_bodies
from webapp.datasets.receiving import receiving_uploads
from webapp.files import sending_files
from webapp.jobs.door_watch import watching_the_door
from webapp.jobs.routing import websocket_urls

application = watching_the_door(
    ProtocolTypeRouter(
        {
            "http": sending_files(receiving_uploads(limiting_bodies(django_app))),  # type: ignore[arg-type]
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urls))),
        }
    )
)
