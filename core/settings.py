"""What differs between machines, read once from the environment (`WANGGE_…`) and from `var/settings.env`."""

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

#: The folder of the checkout; everything the program makes stays below its `var/`.
ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The settings of one process. Names are those of the environment without `WANGGE_`."""

    model_config = SettingsConfigDict(env_prefix="WANGGE_", extra="ignore")

    #: Where the program may write: cluster, sockets' links, uploads, models, logs.
    var: Path = ROOT / "var"
    #: Given data of real districts; absent on a bare machine, where the fictional district is the default.
    data: Path = ROOT.parent / "shared" / "data"
    #: SQLAlchemy address as the program's role, which owns no table. Empty: the private cluster under `var/`.
    database_url: str = ""
    #: The same database as the owner of the tables, for migrations only. Empty: the private cluster's owner.
    owner_url: str = ""
    #: A replica for `core.db.snapshot`; empty: the same server.
    replica_url: str = ""
    #: Redis or AMQP address of the broker. Empty: the private Redis under `var/`.
    broker_url: str = ""
    #: The district this installation serves where a request names none.
    district: str = ""
    #: 32 random bytes in hex; signs sessions and derives the encryption and blind-index keys.
    secret: SecretStr = SecretStr("")
    #: The first TCP port tried for the web server, on loopback unless `host` says otherwise.
    port: int = Field(default=8000, ge=1, le=65535)
    host: str = "127.0.0.1"
    #: Connections that one process keeps open to the database.
    pool_size: int = Field(default=8, ge=1, le=100)
    #: The address under which people reach this installation, for codes on receipts; empty: that of the request.
    public_url: str = ""
    #: Cookies are sent over TLS only; off for the demo on loopback.
    secure_cookies: bool = False
    #: Keys that sign the switchboard's events, at most two of 32 characters or more, by commas; empty: none is taken.
    telephone_keys: SecretStr = SecretStr("")
    #: Hosts that recordings of calls may lie on, by commas, with a port where it is not 443.
    recording_hosts: str = ""
    #: Address of the public pages as messages name it, such as https://12345.example.cn; empty: they name none.
    public_address: str = ""
    #: Everything that would go out is kept on this machine and shown under /sink instead; for the demo.
    sink: bool = False
    #: The SMS provider's address, the key that signs, and its fields as JSON (docs/formats.md); empty: no SMS.
    sms_url: str = ""
    sms_key: SecretStr = SecretStr("")
    sms_fields: str = ""
    #: The mail server: host, port, starttls or tls, sender, and who signs in; empty: no mail.
    mail_host: str = ""
    mail_port: int = Field(default=587, ge=1, le=65535)
    mail_tls: str = "starttls"
    mail_sender: str = ""
    mail_user: str = ""
    mail_password: SecretStr = SecretStr("")
    #: Robots of WeCom, DingTalk and Feishu are told; needs the way to the Internet from the worker.
    chat: bool = False
    #: Weibo's open platform: its address, our access token, the id of our account; an empty token: no fetching.
    weibo_url: str = "https://api.weibo.com"
    weibo_token: SecretStr = SecretStr("")
    weibo_account: str = ""
    #: Hosts that pictures of Open311 requests may lie on, by commas; nothing is fetched from them.
    open311_media_hosts: str = ""
    #: Behind PgBouncer in transaction mode prepared statements cannot be kept.
    pgbouncer: bool = False


@cache
def settings() -> Settings:
    """Return the settings of this process; the environment wins over `var/settings.env`."""
    probe = Settings()
    return Settings(_env_file=probe.var / "settings.env")  # type: ignore[call-arg]
