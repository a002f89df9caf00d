"""The first page: my running job, my place in the queue, what needs attention."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def overview(request: HttpRequest) -> HttpResponse:
    return render(request, "overview/overview.html")
