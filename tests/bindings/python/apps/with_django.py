# SPDX-License-Identifier: MIT
"""The application that test_web.py speaks to, in Django. Its users are in a database of SQLite."""
import os
import threading

import django
from asgiref.sync import async_to_sync
from django.conf import settings

settings.configure(
    SECRET_KEY="for the tests alone", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["latchkey.django.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
                f"{__name__}.looking"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ["LATCHKEY_WORK"], "users.db"),
                           "OPTIONS": {"timeout": 30}}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"], DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SESSION_SERIALIZER=f"django.contrib.sessions.serializers.{os.environ.get('SERIALIZER', 'JSON')}Serializer",
    DEFAULT_HASHING_ALGORITHM="sha256", SESSION_ENGINE="latchkey.django", SESSION_COOKIE_NAME="session",
    LATCHKEY=os.environ["LATCHKEY_URL"])
django.setup()

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

import latchkey.django  # noqa: E402
from opened import Stopping  # noqa: E402

handle = latchkey.django.handle


def looking(get_response):
    """A middleware that needs the user before any view is called."""
    def middleware(request):
        request.looked = request.user.is_authenticated if "look" in request.GET else None
        return get_response(request)
    return middleware


def log_in(request):
    name = "user" + request.GET["user"]
    user, made = User.objects.get_or_create(id=int(request.GET["user"]), defaults={"username": name})
    if made:
        user.set_password("password")
        user.save()
    login(request, authenticate(request, username=name, password=request.GET.get("password", "password")))
    if "stop" in request.GET:
        latchkey.django.handle = lambda: Stopping(handle())
    return HttpResponse("welcome")


def me(request):
    if not request.user.is_authenticated:
        return HttpResponse("no", status=401)
    return HttpResponse(str(request.user.pk), headers={"Cache-Control": "public, max-age=60"})


def log_out(request):
    logout(request)
    return HttpResponse("bye")


def by_async(request):
    """What Django's own alogin and alogout call, from 5.1 on."""
    async_to_sync(getattr(request.session, request.GET["call"]))()
    return HttpResponse()


def change_password(request):
    if "password" in request.GET:
        request.user.set_password(request.GET["password"])
        request.user.save()
    if "keep" in request.GET:
        update_session_auth_hash(request, request.user)
    if "fail" in request.GET:
        raise latchkey.Unavailable("something else that the change needs") if request.GET["fail"] == "503" else KeyError
    return HttpResponse("changed")


def data(request):
    before = {name: value for name, value in request.session.items() if not name.startswith("_auth")}
    if request.method == "POST":
        if "hold" in request.GET:
            gates[0].wait(30)
        for name, value in request.GET.items():
            if name == "expiry":
                request.session.set_expiry(int(value))
            elif name != "hold":
                request.session[name] = value
    return JsonResponse(before)


gates = []


def gate(request):
    if request.method == "GET":
        return HttpResponse(str(gates[0].n_waiting))
    gates[:] = [threading.Barrier(int(request.GET["parties"]))]
    return HttpResponse()


def stats(request):
    latchkey.django.handle = handle
    return JsonResponse(latchkey.django.handle().stats())


urlpatterns = [path("login", log_in), path("me", me), path("logout", log_out), path("data", data), path("gate", gate),
               path("stats", stats), path("password", change_password), path("async", by_async)]
app = get_wsgi_application()

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
