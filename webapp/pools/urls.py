"""Addresses of pools and workers."""

from django.urls import path

from webapp.pools import views

urlpatterns = [
    path("", views.pool_list, name="pool-list"),
    path("create/", views.pool_create, name="pool-create"),
    path("<int:pk>/join/", views.pool_join, name="pool-join"),
    path("workers/<int:pk>/drain/", views.worker_drain, name="worker-drain"),
    path("workers/<int:pk>/enable/", views.worker_enable, name="worker-enable"),
    path("workers/<int:pk>/revoke/", views.worker_revoke, name="worker-revoke"),
]
