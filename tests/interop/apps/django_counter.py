"""How often Django's sessions, kept in this process's memory, have seen the visitor: PORT."""
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings

settings.configure(
    SECRET_KEY="interop", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})

from django.core.wsgi import get_wsgi_application  # noqa: E402: settings first.
from django.http import HttpResponse  # noqa: E402
from django.urls import re_path  # noqa: E402


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    if request.path == "/login":
        request.session.cycle_key()
    return HttpResponse(str(request.session["count"]), content_type="text/plain")


urlpatterns = [re_path("", count)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application(), handler_class=Quiet).serve_forever()
