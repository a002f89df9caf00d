"""All settings, read from the environment through webapp/env.py. docs/configuration.md lists them; a fresh clone needs none."""

from pathlib import Path

from webapp import env
from webapp.caching import static_headers
from webapp.database import database_from_url
from webapp.secrets import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.folder("NIBBLE_DATA", BASE_DIR / ".data")
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = secret_key(env.text("SECRET_KEY"), kept_in=DATA_DIR / "secret_key")
SALT_KEY = "nibble.encrypted-fields"  # the secret is SECRET_KEY; the salt only separates this use of it
DEBUG = env.flag("NIBBLE_DEBUG")
PUBLIC_URL = env.text("NIBBLE_PUBLIC_URL")  # how browsers and workers reach the dashboard, e.g. https://nibble.example.org
ALLOWED_HOSTS = env.names("NIBBLE_HOSTS", "localhost,127.0.0.1,[::1]") + env.hosts_of(PUBLIC_URL)
BEHIND_TLS = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "webapp.accounts",
    "webapp.catalog",
    "webapp.datasets",
    "webapp.pools",
    "webapp.jobs",
    "webapp.adapters",
    "webapp.upkeep",
    "webapp.worker_api",
    "webapp.api",
    "webapp.launcher",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "webapp.security.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",  # a page is private unless it says otherwise
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "webapp.urls"
ASGI_APPLICATION = "webapp.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "webapp.navigation.navigation",
            ],
            "builtins": [
                "webapp.templatetags.units",
                "webapp.templatetags.icons",
                "webapp.templatetags.times",
                "webapp.templatetags.jobs",
                "webapp.templatetags.rows",
            ],
            "libraries": {name: f"webapp.templatetags.{name}" for name in ("units", "icons", "times", "jobs", "rows")},
        },
    }
]

DATABASES = {"default": database_from_url(env.text("DATABASE_URL"), data=DATA_DIR, pooled=True)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
WORKER_REDIS_URL = env.text("NIBBLE_WORKER_REDIS_URL", REDIS_URL)  # the same Redis as workers on other machines reach it
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # With redis-py 8's defaults (socket_timeout 5 s, 100 connections) two thirds of 320 idle sockets died in 8 s.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None, "max_connections": 8192}], "prefix": "nibble"},
    }
}

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SESSION_COOKIE_NAME = "nibble_session"
CSRF_COOKIE_NAME = "nibble_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_HSTS_SECONDS = int(env.number("NIBBLE_HSTS_SECONDS", 3600)) if BEHIND_TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # the domain's other hosts are not ours to decide about
    "security.W008",  # the proxy redirects to https; inside, health checks and workers come by http
    "security.W021",  # preloading is for the owner of the whole domain
]

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_USE_FINDERS = True  # no collectstatic step: a git pull is an upgrade
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_ADD_HEADERS_FUNCTION = static_headers

DATASETS_DIR = DATA_DIR / "datasets"
ADAPTERS_DIR = DATA_DIR / "adapters"
CHECKPOINTS_DIR = DATA_DIR / "checkpoints"
INCOMING_DIR = DATA_DIR / "incoming"  # files of attempts that have not finished
TOKENIZERS_DIR = DATA_DIR / "tokenizers"
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads"
for needed in (DATASETS_DIR, ADAPTERS_DIR, CHECKPOINTS_DIR, INCOMING_DIR, TOKENIZERS_DIR, FILE_UPLOAD_TEMP_DIR):
    needed.mkdir(parents=True, exist_ok=True)
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]  # a file never sits in memory
FILE_UPLOAD_PERMISSIONS = 0o600
MAX_DATASET_BYTES = int(env.number("NIBBLE_MAX_DATASET_BYTES", 20 * 2**30, least=1))
UPLOAD_HOURS = env.number("NIBBLE_UPLOAD_HOURS", 72)

HF_ENDPOINT = env.text("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
FETCH_SECONDS = env.number("NIBBLE_FETCH_SECONDS", 6 * 3600, least=1)
FETCH_STALL_SECONDS = env.number("NIBBLE_FETCH_STALL_SECONDS", 60, least=1)

LEASE_SECONDS = env.number("NIBBLE_LEASE_SECONDS", 30, least=0.5)
REAPER_SECONDS = env.number("NIBBLE_REAPER_SECONDS", 5, least=0.1)
MAX_RETRIES = int(env.number("NIBBLE_MAX_RETRIES", 5))
RETRY_SECONDS = env.number("NIBBLE_RETRY_SECONDS", 10)  # before the first retry; twice as long before each further one
LOG_LINES_PER_JOB = int(env.number("NIBBLE_LOG_LINES_PER_JOB", 200_000, least=1))
LOG_BYTES_PER_JOB = int(env.number("NIBBLE_LOG_BYTES_PER_JOB", 100 * 2**20, least=1))
MIN_FREE_BYTES = int(env.number("NIBBLE_MIN_FREE_BYTES", 2 * 2**30))
PATIENCE_SECONDS = env.number("NIBBLE_PATIENCE_SECONDS", 900)  # a job that smaller ones overtook for so long reserves a worker
SOCKETS_PER_USER = int(env.number("NIBBLE_SOCKETS_PER_USER", 20, least=1))

USE_TZ = True
TIME_ZONE = "UTC"  # stored and rendered in UTC; the browser shows the reader's zone
LANGUAGE_CODE = "en"
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"httpx": {"level": "WARNING"}},  # a line for every request otherwise
    "root": {"handlers": ["stderr"], "level": env.text("NIBBLE_LOG_LEVEL", "INFO")},
}
