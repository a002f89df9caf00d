"""The list of jobs."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.jobs.listing import ROWS_A_PAGE, STATES, wanted_from
from webapp.jobs.selectors import jobs_for


def job_list(request: HttpRequest) -> HttpResponse:
    user, wanted = user_of(request), wanted_from(request.GET)
    page = Paginator(wanted.among(jobs_for(user), user=user), ROWS_A_PAGE).get_page(wanted.page)
    context = {
        "wanted": wanted,
        "page": page,
        "stoppable": {job.pk for job in page if not job.is_ended and may_change(user, job)},
        "states": [(key, label) for key, (label, _) in STATES.items()],
        "mine_url": wanted.address(mine=True, page=1),
        "team_url": wanted.address(mine=False, page=1),
        "older_url": wanted.address(page=page.number + 1) if page.has_next() else "",
        "newer_url": wanted.address(page=page.number - 1) if page.has_previous() else "",
    }
    return render(request, "jobs/list.html", context)
