"""Every setting of the coordinator: its name, its default, its limits, and what it is for.

The descriptions are for operators: the reference and the sample file are generated from them (`reference.py`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ferryman_coordinator.config.alarm_sources import AlarmSourceSettings
from ferryman_coordinator.config.sinks import Sink
from ferryman_coordinator.config.values import Address, ByteSize, Duration

GRPC_PORT = 7420
HTTP_PORT = 7421
AGENTS_PORT = 7422

_DAY = 86_400_000


def _duration(description: str, least: str, most: str) -> Meta:
    return Meta(description=description, extra={"least": least, "most": most})


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings about one subject; its docstring heads it in the reference."""


class Listen(Section, frozen=True, kw_only=True):
    """Where the coordinator listens."""

    grpc: Annotated[
        Address,
        Meta(
            description="People, tools and enrolment: gRPC over TLS, with a token. Port 0 picks a free port."
        ),
    ] = Address("127.0.0.1", GRPC_PORT)
    agents: Annotated[
        Address | None,
        Meta(
            description="Enrolled agents: gRPC over mutual TLS. Default: the host of `grpc` and port 7422, or a free"
            " port when that of `grpc` is 0. Agents look for it on the host that they enrolled at."
        ),
    ] = None
    http: Annotated[
        Address,
        Meta(
            description="Bundles for agents, /metrics, /healthz and /readyz. Plain HTTP on a loopback address; on any"
            " other, HTTPS with the coordinator's own certificate."
        ),
    ] = Address("127.0.0.1", HTTP_PORT)

    @property
    def for_agents(self) -> Address:
        """The agents' address with its default worked out."""
        if self.agents is not None:
            return self.agents
        return Address(self.grpc.host, AGENTS_PORT if self.grpc.port else 0)


class Public(Section, frozen=True, kw_only=True):
    """How others reach the coordinator."""

    names: Annotated[
        tuple[str, ...],
        Meta(
            description="Host names and IP addresses for the server certificate, besides this machine's name,"
            " `localhost`, 127.0.0.1, ::1 and the addresses listened on."
        ),
    ] = ()
    http_url: Annotated[
        str,
        Meta(
            description="Where agents fetch bundles, such as https://deploy.example.org:7421. Empty: the host that"
            " they enrolled at, with the port and scheme of `listen.http`."
        ),
    ] = ""


class Account(Section, frozen=True, kw_only=True):
    """What CodeDeploy's tools see as account and region: in ARNs, events and signatures."""

    id: Annotated[
        str,
        Meta(description="Twelve digits. ARNs made before a change keep the old one.", pattern=r"^\d{12}$"),
    ] = "000000000000"
    region: Annotated[
        str,
        Meta(
            description="A name of small letters, digits and dashes, such as eu-1.",
            pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        ),
    ] = "local"


class Database(Section, frozen=True, kw_only=True):
    """Where everything but bundles and keys is kept."""

    url: Annotated[
        str,
        Meta(
            description="Empty: SQLite in the data directory. Or postgresql://user@host/name; the password is better"
            " kept in `password_file`."
        ),
    ] = ""
    password_file: Annotated[
        str, Meta(description="A file that holds the password for `url`, and nothing else.")
    ] = ""


class Agents(Section, frozen=True, kw_only=True):
    """The standing connections of agents."""

    heartbeat_interval: Annotated[
        Duration, _duration("How often an agent says that it is there.", "1s", "10m")
    ] = Duration(15_000)
    missed_heartbeats: Annotated[
        int, Meta(description="An agent that misses this many counts as silent.", ge=1, le=100)
    ] = 3
    drain_within: Annotated[
        Duration,
        _duration(
            "When the coordinator ends, agents come back after a random pause of up to this, so that a fleet does"
            " not arrive at one moment.",
            "0s",
            "10m",
        ),
    ] = Duration(5_000)
    minimum_version: Annotated[
        str,
        Meta(
            description="Agents older than this are refused, with a message that names it. Empty: none is.",
            pattern=r"^(\d{1,9}(\.\d{1,9}){0,7})?$",
        ),
    ] = ""


class Certificates(Section, frozen=True, kw_only=True):
    """Certificates of the built-in authority."""

    agent_lifetime: Annotated[
        Duration,
        _duration("Of an agent's certificate; agents renew by themselves after two thirds.", "10s", "825d"),
    ] = Duration(7 * _DAY)
    server_lifetime: Annotated[
        Duration,
        _duration("Of the coordinator's own; renewed without a restart after two thirds.", "1h", "825d"),
    ] = Duration(90 * _DAY)
    ca_lifetime: Annotated[
        Duration, _duration("Of the authority made on the first start; has no effect later.", "30d", "7300d")
    ] = Duration(3650 * _DAY)


class Access(Section, frozen=True, kw_only=True):
    """Wrong tokens and wrong join tokens."""

    failures_per_minute: Annotated[
        int,
        Meta(
            description="After this many failures from one network address within a minute, its further unknown"
            " tokens are refused unseen until the minute is over.",
            ge=1,
            le=100_000,
        ),
    ] = 60


class TokenTags(StrEnum):
    ANY = "any"
    PRESET = "preset"


class Enrolment(Section, frozen=True, kw_only=True):
    """How machines become instances."""

    token_tags: Annotated[
        TokenTags,
        Meta(
            description="Which tags a machine may give itself when it enrols with a join token that does not say"
            " (`--allow-tag`, `--preset-tags`). any: every one, as `ferryman-agent enroll --tag` wishes. preset: only"
            " those that the token gives."
        ),
    ] = TokenTags.ANY


class AwsIdentity(Section, frozen=True, kw_only=True):
    """Cloud instances that enrol with the identity document of Amazon EC2, without a join token."""

    certificates: Annotated[
        tuple[str, ...],
        Meta(
            description="Files (PEM) with Amazon's certificates for the RSA signature of identity documents, those of"
            " your regions. Empty: no document is believed."
        ),
    ] = ()
    accounts: Annotated[
        tuple[str, ...],
        Meta(description="Accounts (12 digits) whose instances may enrol so. Needed with `certificates`."),
    ] = ()
    regions: Annotated[tuple[str, ...], Meta(description="Only of these regions; empty: of all.")] = ()
    maximum_age: Annotated[
        Duration,
        _duration(
            "How long after it was launched an instance can enrol so. A document does not say when it was read: the"
            " shorter this is, the less a copy of one is worth.",
            "1m",
            "3650d",
        ),
    ] = Duration(3_600_000)


class Bundles(Section, frozen=True, kw_only=True):
    """The built-in bundle store: files under the data directory, named by their digest."""

    size_limit: Annotated[ByteSize, Meta(description="The largest bundle that is taken in.")] = ByteSize(
        10 << 30
    )
    url_lifetime: Annotated[
        Duration,
        _duration(
            "How long an agent can use a download address after the coordinator gave it. Longer than a command may"
            " wait behind others.",
            "1m",
            "30d",
        ),
    ] = Duration(_DAY)


class Addressing(StrEnum):
    AUTO = "auto"
    PATH = "path"
    VIRTUAL = "virtual"


class S3(Section, frozen=True, kw_only=True):
    """Revisions in S3, or in a store that speaks like it. Agents get addresses that are signed for them, never keys."""

    endpoint_url: Annotated[
        str,
        Meta(
            description="Where a compatible store is, such as https://minio.example.org:9000. Empty: Amazon S3."
            " Agents must be able to reach it under the same name."
        ),
    ] = ""
    region: Annotated[
        str,
        Meta(
            description="Region of the buckets, as far as they do not say themselves. Empty: what AWS_REGION, the"
            " profile, or us-east-1 say."
        ),
    ] = ""
    credentials_file: Annotated[
        str,
        Meta(
            description="A file with aws_access_key_id and aws_secret_access_key under [default], as AWS tools write"
            " it; read again within a minute of a change. Empty: the environment, ~/.aws, or the machine's own role."
        ),
    ] = ""
    profile: Annotated[str, Meta(description="Which part of the file; empty: default.")] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates (PEM) that the store's own is checked with; empty: the system's.")
    ] = ""
    addressing: Annotated[
        Addressing,
        Meta(
            description="Whether the bucket is in the path of an address or in its host name (virtual). auto: in the"
            " path with `endpoint_url`, else in the name."
        ),
    ] = Addressing.AUTO
    url_lifetime: Annotated[
        Duration,
        _duration(
            "How long an agent can use the address of an object after the coordinator gave it. Longer than a command"
            " may wait behind others; with temporary keys an address ends with them.",
            "1m",
            "7d",
        ),
    ] = Duration(12 * 3_600_000)


class GitHub(Section, frozen=True, kw_only=True):
    """Revisions that are commits of a repository. Tokens are stored with `ferryman github-token add`."""

    api_url: Annotated[
        str,
        Meta(
            description="Where GitHub's API is, for GitHub Enterprise https://HOST/api/v3. Agents fetch archives"
            " there, and send a stored token to no other host."
        ),
    ] = "https://api.github.com"


class Deployments(Section, frozen=True, kw_only=True):
    """Timers and concurrency of deployments."""

    event_start: Annotated[
        Duration, _duration("A lifecycle event must start within this, else its target fails.", "1s", "7d")
    ] = Duration(5 * 60_000)
    event_run: Annotated[
        Duration, _duration("A lifecycle event must end within this, all its scripts together.", "1s", "7d")
    ] = Duration(3_600_000)
    report_grace: Annotated[
        Duration,
        _duration(
            "What an agent has beyond `event_run` to end a lifecycle event by itself and to report it.",
            "0s",
            "1h",
        ),
    ] = Duration(15_000)
    reboot_grace: Annotated[
        Duration,
        _duration(
            "How long an instance may be silent during a deployment before its target fails.", "1s", "7d"
        ),
    ] = Duration(5 * 60_000)
    first_contact: Annotated[
        Duration,
        _duration(
            "How long the agent of an instance that was just launched may take to be heard of before its launch is"
            " abandoned.",
            "1m",
            "1d",
        ),
    ] = Duration(60 * 60_000)
    autoscaling_heartbeat: Annotated[
        Duration,
        _duration("How often an autoscaler that waits for an answer hears that it goes on.", "1s", "1h"),
    ] = Duration(5 * 60_000)
    run_cap: Annotated[
        Duration, _duration("A deployment that takes longer than this ends as Failed (TIMEOUT).", "1m", "30d")
    ] = Duration(12 * 3_600_000)
    on_premises_in_place_only: Annotated[
        bool,
        Meta(
            description="Whether on-premises instances, that is those that enrolled with a join token, are refused in"
            " blue/green deployments, behind load balancers and in autoscaling groups, as CodeDeploy does."
        ),
    ] = False
    prefetch_concurrency: Annotated[
        int,
        Meta(
            description="How many instances fetch the bundle of one deployment at the same time before their turn;"
            " 0 switches prefetching off.",
            ge=0,
            le=100_000,
        ),
    ] = 100


class Limits(Section, frozen=True, kw_only=True):
    """Quotas; the defaults are CodeDeploy's."""

    applications: Annotated[int, Meta(description="Applications.", ge=1)] = 1_000
    groups_per_application: Annotated[
        int, Meta(description="Deployment groups of one application.", ge=1)
    ] = 1_000
    custom_configurations: Annotated[int, Meta(description="Custom deployment configurations.", ge=1)] = 50
    instances_per_call: Annotated[
        int, Meta(description="Instances that are tagged, or read by name, in one call.", ge=1, le=1_000)
    ] = 100
    tags_per_instance: Annotated[int, Meta(description="Tags of one instance.", ge=1)] = 10
    filters_per_tag_group: Annotated[
        int, Meta(description="Tag filters of one tag group of a deployment group.", ge=1)
    ] = 10
    tag_groups_per_set: Annotated[
        int, Meta(description="Tag groups of the tag set of a deployment group.", ge=1)
    ] = 3
    tags_per_resource: Annotated[
        int, Meta(description="Tags of one application or deployment group itself.", ge=1)
    ] = 50
    alarms_per_group: Annotated[
        int, Meta(description="Alarms of one deployment group, or of one deployment.", ge=1, le=50)
    ] = 10
    notification_rules: Annotated[int, Meta(description="Notification rules.", ge=1)] = 1_000
    triggers_per_group: Annotated[int, Meta(description="Triggers of one deployment group.", ge=1)] = 10
    auto_scaling_groups_per_group: Annotated[
        int, Meta(description="Autoscaling groups of one deployment group.", ge=1)
    ] = 10
    load_balancers_per_group: Annotated[
        int, Meta(description="Classic load balancers of one deployment group.", ge=1)
    ] = 10
    target_groups_per_group: Annotated[
        int, Meta(description="Target groups of one deployment group.", ge=1)
    ] = 10
    applications_per_batch: Annotated[
        int, Meta(description="Applications that are read by name in one call.", ge=1, le=1_000)
    ] = 100
    groups_per_batch: Annotated[
        int, Meta(description="Deployment groups that are read by name in one call.", ge=1, le=1_000)
    ] = 100
    revisions_per_batch: Annotated[
        int, Meta(description="Revisions that are read by location in one call.", ge=1, le=1_000)
    ] = 25
    deployments_per_batch: Annotated[
        int, Meta(description="Deployments that are read by id in one call.", ge=1, le=1_000)
    ] = 25
    targets_per_batch: Annotated[
        int,
        Meta(description="Targets of a deployment that are read by instance in one call.", ge=1, le=1_000),
    ] = 25
    github_tokens: Annotated[int, Meta(description="Stored tokens for GitHub.", ge=1, le=10_000)] = 25
    tag_key_length: Annotated[int, Meta(description="Characters of a tag's key.", ge=1)] = 128
    tag_value_length: Annotated[int, Meta(description="Characters of a tag's value.", ge=1)] = 256
    name_length: Annotated[
        int,
        Meta(description="Characters of the name of an application, group, configuration or instance.", ge=1),
    ] = 100
    concurrent_deployments: Annotated[
        int, Meta(description="Deployments that run at the same time.", ge=1)
    ] = 1_300
    instances_per_deployment: Annotated[int, Meta(description="Targets of one deployment.", ge=1)] = 1_000
    instances_in_running_deployments: Annotated[
        int,
        Meta(
            description="Targets of all running deployments together; a deployment that exceeds it waits in Queued"
            " until others have ended, or until it is alone.",
            ge=1,
        ),
    ] = 1_000


class History(Section, frozen=True, kw_only=True):
    """What is remembered of the past."""

    keep: Annotated[
        Duration,
        _duration(
            "How long a finished deployment is kept. The last attempt and the last success of each deployment group"
            " stay whatever their age.",
            "1d",
            "36500d",
        ),
    ] = Duration(90 * _DAY)


class Notices(Section, frozen=True, kw_only=True):
    """What triggers and notification rules send. Where it goes is in `sinks`."""

    give_up_after: Annotated[
        Duration,
        _duration(
            "A message that could not be delivered for so long is put aside; `ferryman trigger replay` sends it again.",
            "1m",
            "30d",
        ),
    ] = Duration(_DAY)
    longest_pause: Annotated[
        Duration,
        _duration("Between two attempts to reach a sink; the first pauses are seconds.", "1s", "1h"),
    ] = Duration(300_000)
    keep: Annotated[
        Duration,
        _duration(
            "How long events, and messages that were delivered, are kept. Who follows events must come back within"
            " this. What was put aside stays as long as `history.keep` says.",
            "1h",
            "3650d",
        ),
    ] = Duration(7 * _DAY)


class Alarms(Section, frozen=True, kw_only=True):
    """Alarms that stop deployments, and where they come from."""

    poll_interval: Annotated[
        Duration,
        _duration(
            "How often the alarms that deployments watch are read. Three failures in a row count as unreadable.",
            "1s",
            "15s",
        ),
    ] = Duration(10_000)
    sources: Annotated[
        dict[str, AlarmSourceSettings],
        Meta(
            description="Places that know alarms, by a name of your choice; the first one that answers and knows an"
            " alarm of a plain name counts. Each has the settings of the table below."
        ),
    ] = msgspec.field(default_factory=dict)


class Audit(Section, frozen=True, kw_only=True):
    """Who asked for what, and what the coordinator decided by itself: the audit log."""

    reads: Annotated[
        bool,
        Meta(
            description="Record calls that change nothing, too. Off, they are recorded only when they are refused."
        ),
    ] = True
    keep: Annotated[
        Duration,
        _duration(
            "How long records are kept. Older ones go up to a checkpoint of the chain.", "1d", "36500d"
        ),
    ] = Duration(365 * _DAY)
    file: Annotated[
        str,
        Meta(
            description="A file that every record is written to as well, one JSON object a line. Empty: none. Records"
            " that are missing in it at the start are added."
        ),
    ] = ""
    file_size: Annotated[
        ByteSize,
        Meta(description="A file that is larger makes room for a new one: it gets the name `<file>.1`."),
    ] = ByteSize(100 << 20)
    files_kept: Annotated[
        int, Meta(description="How many older files stay beside the present one.", ge=1, le=10_000)
    ] = 10


class Log(Section, frozen=True, kw_only=True):
    """What the coordinator writes to standard error: one JSON object a line."""

    level: Annotated[LogLevel, Meta(description="The least that is written.")] = LogLevel.INFO


class Config(Section, frozen=True, kw_only=True):
    """The settings that belong to no section."""

    data_dir: Annotated[
        str,
        Meta(
            description="Keys, bundles and the embedded database; made with mode 0700. Empty: /var/lib/ferryman as"
            " root, else $XDG_DATA_HOME/ferryman."
        ),
    ] = ""
    sinks: Annotated[
        dict[str, Sink],
        Meta(
            description="Where triggers and notification rules send to, by a name of your choice. Each has the settings"
            " of the table below."
        ),
    ] = msgspec.field(default_factory=dict)
    listen: Listen = Listen()
    public: Public = Public()
    account: Account = Account()
    database: Database = Database()
    agents: Agents = Agents()
    certificates: Certificates = Certificates()
    access: Access = Access()
    enrolment: Enrolment = Enrolment()
    aws_identity: AwsIdentity = AwsIdentity()
    bundles: Bundles = Bundles()
    s3: S3 = S3()
    github: GitHub = GitHub()
    deployments: Deployments = Deployments()
    limits: Limits = Limits()
    history: History = History()
    notices: Notices = Notices()
    alarms: Alarms = Alarms()
    audit: Audit = Audit()
    log: Log = Log()
