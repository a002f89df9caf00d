"""Addresses of the door, under /worker/v1/."""

from django.urls import path

from webapp.worker_api import attempts

urlpatterns = [
    path("claim", attempts.claim),
    path("attempts/<int:pk>/events", attempts.events),
    path("attempts/<int:pk>/dataset", attempts.dataset),
    path("attempts/<int:pk>/files/<str:name>", attempts.upload),
    path("attempts/<int:pk>/finish", attempts.finish),
]
