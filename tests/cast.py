"""The people and things that tests are about. Alice and Bob share a team, Charlie is in another, Ada is an administrator."""

from dataclasses import dataclass
from datetime import UTC, datetime

from webapp.accounts.models import Role, Team, User
from webapp.catalog.models import BaseModel
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.pools.models import Worker, WorkerPool
from webapp.secrets import token_hash

PASSWORD = "correct horse battery"
WORKER_TOKEN = "nbw_test"
SHAPE = {
    "architecture": "LlamaForCausalLM",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "parameters": 134515008,
    "weights_bytes": 269030016,
    "has_chat_template": True,
    "linear_layers": [],
    "head_dim": None,
    "is_tied": None,
    "linear_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


@dataclass(frozen=True)
class Cast:
    alice: User
    bob: User
    charlie: User
    ada: User
    pool: WorkerPool
    worker: Worker
    base_model: BaseModel
    version: DatasetVersion


def person(name: str, *, team: Team, role: str = Role.MEMBER) -> User:
    user = User(email=f"{name.lower()}@example.org", name=name, team=team, role=role)
    user.set_password(PASSWORD)
    user.save()
    return user


def meet_the_cast() -> Cast:
    """Needs a database. One pool with one enabled worker, one ready model, one ready dataset of Alice's."""
    research, sales = Team.objects.create(name="Research"), Team.objects.create(name="Sales")
    alice, bob = person("Alice", team=research), person("Bob", team=research)
    charlie, ada = person("Charlie", team=sales), person("Ada", team=sales, role=Role.ADMIN)
    pool = WorkerPool.objects.create(name="local")
    worker = Worker.objects.create(pool=pool, name="box", token_hash=token_hash(WORKER_TOKEN), last_seen_at=datetime.now(UTC))
    model = BaseModel.objects.create(
        name="SmolLM2 135M Instruct",
        source="example",
        name_or_path="smollm2-135m-instruct",
        state="ready",
        shape=SHAPE,
        licence="apache-2.0",
        tokenizer_sha256="7" * 64,
    )
    dataset = Dataset.objects.create(team=research, owner=alice, name="greetings")
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=1,
        file_name="greetings.jsonl",
        sha256="a" * 64,
        size_bytes=100,
        state="ready",
        format="messages",
        rows=8,
        created_by=alice,
    )
    return Cast(alice=alice, bob=bob, charlie=charlie, ada=ada, pool=pool, worker=worker, base_model=model, version=version)
