"""Addresses of pools and workers."""

from django.urls import path

from webapp.pools.views import board, settings

urlpatterns = [
    path("", board.pool_list, name="pool-list"),
    path("create/", board.pool_create, name="pool-create"),
    path("<int:pk>/join/", board.pool_join, name="pool-join"),
    path("<int:pk>/settings/", settings.pool_settings, name="pool-settings"),
    path("workers/<int:pk>/drain/", board.worker_drain, name="worker-drain"),
    path("workers/<int:pk>/enable/", board.worker_enable, name="worker-enable"),
    path("workers/<int:pk>/revoke/", board.worker_revoke, name="worker-revoke"),
]
