"""Addresses of the door, under /worker/v1/."""

from django.urls import path

from webapp.worker_api import attempts, bundle, checkpoints, workers

urlpatterns = [
    path("join.sh", bundle.join_script, name="worker-join-script"),
    path("bundle.tar.gz", bundle.bundle, name="worker-bundle"),
    path("register", workers.register),
    path("heartbeat", workers.heartbeat),
    path("models/<int:pk>/report", workers.model_report),
    path("models/<int:pk>/tokenizer/<str:name>", workers.model_tokenizer),
    path("claim", attempts.claim),
    path("attempts/<int:pk>/events", attempts.events),
    path("attempts/<int:pk>/dataset", attempts.dataset),
    path("attempts/<int:pk>/resume/<str:name>", checkpoints.resume),
    path("attempts/<int:pk>/checkpoints", checkpoints.publish),
    path("attempts/<int:pk>/checkpoints/<int:step>/<str:name>", checkpoints.upload),
    path("attempts/<int:pk>/files/<str:name>", attempts.upload),
    path("attempts/<int:pk>/finish", attempts.finish),
]
