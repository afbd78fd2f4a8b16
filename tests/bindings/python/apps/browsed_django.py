# SPDX-License-Identifier: MIT
"""The application that tests/http/browsers.py visits, in Django. Its users need no database: a backend makes them up."""
import os
import time

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="for the tests alone", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["latchkey.django.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    AUTHENTICATION_BACKENDS=[f"{__name__}.Backend"], DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DEFAULT_HASHING_ALGORITHM="sha256", SESSION_ENGINE="latchkey.django", SESSION_COOKIE_NAME="sid",
    LATCHKEY=os.environ["LATCHKEY_URL"])
django.setup()

from django.contrib.auth import login, logout, user_logged_in  # noqa: E402
from django.contrib.auth.models import User, update_last_login  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

import latchkey.django  # noqa: E402
from browsed import Fault, Handled, plan  # noqa: E402

user_logged_in.disconnect(update_last_login, dispatch_uid="update_last_login")


class Backend:
    def authenticate(self, request, number=None):
        return User(id=number, username=f"user{number}", password="none")

    def get_user(self, number):
        return User(id=int(number), username=f"user{number}", password="none")


def in_pieces(pieces, cut):
    for piece in pieces:
        yield piece
        time.sleep(0.01)
        if cut:
            raise Fault


def page(request):
    if not request.user.is_authenticated:
        return HttpResponse(status=401, headers={"Cache-Control": "no-store"})
    request.body  # pylint: disable=pointless-statement # it is read
    do, user = request.headers.get("X-Do", ""), request.user.pk
    if "slow" in do:
        time.sleep(0.05)
        request.session["seen"] = request.session.get("seen", 0) + 1
    try:
        status, headers, pieces = plan(do, request.headers.get("X-Value"), user)
    except Handled:
        return HttpResponse(status=418, headers={"X-App": "1", "X-User": user})
    if "stream" in do or "cut" in do:
        response = StreamingHttpResponse(in_pieces(pieces, "cut" in do), status=status)
    else:
        response = HttpResponse(b"".join(pieces), status=status)
    for name, value in headers:
        if name == "Set-Cookie":
            response.cookies.load(value)
        else:
            response[name] = value
    return response


def log_in(request):
    login(request, Backend().get_user(request.GET["user"]), f"{__name__}.Backend")
    return HttpResponse(headers={"X-App": "1"})


def log_out(request):
    logout(request)
    return HttpResponse(headers={"X-App": "1"})


def end(request):
    if "user" in request.GET:
        latchkey.django.handle().revoke_user(int(request.GET["user"]))
    else:
        latchkey.django.handle().revoke_everyone()
    return HttpResponse(headers={"X-App": "1"})


def ready(_):
    return HttpResponse()


urlpatterns = [path("page", page), path("login", log_in), path("logout", log_out), path("end", end), path("ready", ready)]
app = get_wsgi_application()
