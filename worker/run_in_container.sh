# What a worker's container does: the example model once, joining once with the token of Pools & workers, then its work.
set -eu
data="${NIBBLE_WORKER_FOLDER:-/data}"
python -m worker.qlora.example_model "$data/models/smollm2-135m-instruct"
if [ ! -f "$data/worker.json" ]; then
    : "${NIBBLE_JOIN_TOKEN:?An administrator makes one on Pools & workers; put it into .env as NIBBLE_JOIN_TOKEN}"
    python -m worker.agent join "${NIBBLE_DASHBOARD_URL:?the address of the dashboard}" --token "$NIBBLE_JOIN_TOKEN" --data "$data"
fi
exec python -m worker.agent run --data "$data"
