//! The settings: flags, each with an environment variable, which a file `.env` may hold.

mod origin;
mod secrets;
mod values;
mod variables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Uri;
use anyhow::{anyhow, bail, ensure};
use clap::builder::Resettable;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use values::{
    Optional, address, connections, duration, given, optional_address, optional_page_size, optional_path, page_size,
    until,
};

pub use origin::{Given, print};
pub use variables::Unknown;

use crate::auth::keystone::{self, Account, Keystone};
use crate::auth::{Access, Authenticator, Caller, Identity, Tokens};
use crate::faults::Faults;
use crate::query::Limits;
use crate::store::{Patience, Target};
use crate::timestamp::Timestamp;
use crate::version;

const EXAMPLES: &str = "\
Every setting is a flag, a variable, or a line VARIABLE=value in a file .env of the working folder. Flags go before
the environment, and that before the file.

Examples:
  glimpse --seeds migrations/seeds
  glimpse serve --listen 127.0.0.1:8080 --auth tokens --auth-tokens-file tokens.json
  glimpse migrate --database-url postgres://glimpse@db.example.org/glimpse --seeds seeds
  glimpse config";

/// Serves the OpenStack Image API v1.1 from a SQL database.
#[derive(Debug, Parser)]
#[command(name = "glimpse", version = version::FULL, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub settings: Settings,
    /// The same as they were given.
    #[arg(skip)]
    pub given: Vec<Given>,
    /// What stands in `.env` to no effect.
    #[arg(skip)]
    pub unknown: Vec<Unknown>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the API; what `glimpse` alone does.
    #[command(
        after_help = "Examples:\n  glimpse serve --seeds migrations/seeds\n  glimpse serve --listen 0.0.0.0:9292 --auth keystone"
    )]
    Serve,
    /// Bring the schema up to date, apply the seeds, and exit.
    #[command(after_help = "Examples:\n  glimpse migrate --seeds migrations/seeds")]
    Migrate,
    /// Show how a list is found: the plan and why, each statement, and what it costs.
    #[command(
        after_help = "Examples:\n  glimpse explain 'status=active&size_min=1000'\n  glimpse explain name=cirros --project 23f4cb75768d4febb39542ef6fe169f3"
    )]
    Explain(Explain),
    /// Fill the database with a synthetic catalog, whole or not at all.
    ///
    /// The same seed, count and time give the same images on SQLite and PostgreSQL. The schema is
    /// brought up to date first, as by `glimpse migrate`; seeds are not applied.
    #[command(
        after_help = "Examples:\n  glimpse generate --count 1000000\n  glimpse generate --count 5000 --seed 2 --append"
    )]
    Generate(Generate),
    /// Store the images of a file by their ids, all or none of them
    ///
    /// The file holds an answer of this API, an answer of the Image API v2, the output of
    /// `openstack image list --long -f json`, or newline-delimited JSON of one of them. New images
    /// are added, and those that are there get what the file says of them. Each record that cannot
    /// be stored is named with its place and reason, and then nothing is stored, unless
    /// --keep-going; the exit status is not 0 then.
    #[command(
        after_help = "Examples:\n  openstack image list --long -f json | glimpse import -\n  glimpse import images.json --dry-run"
    )]
    Import(Import),
    /// Write images to standard output, as SQL seeds or as JSON
    ///
    /// Without --query every image is written, deleted and killed ones too.
    #[command(
        after_help = "Examples:\n  glimpse export --format sql > seeds/0002_cloud.sql\n  glimpse export --query 'status=active'"
    )]
    Export(Export),
    /// Print every setting: its variable, where its value comes from, and that value, without secrets.
    ///
    /// Fails where `glimpse serve` would refuse them before it looks at the database.
    #[command(
        after_help = "Examples:\n  glimpse config\n  glimpse config --auth tokens --auth-tokens-file tokens.json"
    )]
    Config,
    /// Ask the server at LISTEN whether it lives; the exit status is 0 where it does, else 1.
    ///
    /// For the health check of a container, with the server's own settings. Where LISTEN is every
    /// address, the loopback one is asked.
    #[command(after_help = "Examples:\n  glimpse health\n  glimpse health --ready --timeout 2s")]
    Health(Health),
    /// Print the completions for a shell.
    #[command(
        after_help = "Examples:\n  glimpse completions bash > /usr/local/share/bash-completion/completions/glimpse"
    )]
    Completions(Completions),
    /// Print the manual page of the program, or of one of its commands.
    #[command(
        after_help = "Examples:\n  glimpse man | man -l -\n  glimpse man generate > /usr/local/share/man/man1/glimpse-generate.1"
    )]
    Man(ManPage),
}

/// The shell.
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// The shell that is to complete
    ///
    /// Default: none; a shell is needed. Example: `bash`
    pub shell: Shell,
}

/// The page.
#[derive(Clone, Debug, Args)]
pub struct ManPage {
    /// A command, such as generate
    ///
    /// Default: the page of the program. Example: `generate`
    #[arg(value_name = "COMMAND")]
    pub of: Option<String>,
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug, Args)]
pub struct Health {
    /// Ask also whether its database answers
    ///
    /// Default: whether it lives, whatever becomes of its database. Example: `--ready`
    #[arg(long)]
    pub ready: bool,

    /// The longest wait for the answer
    ///
    /// Example: `--timeout 2s`
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
}

/// Images to be stored.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The file; - is standard input
    ///
    /// Default: none; a file is needed. Example: `images.json`
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,

    /// Of what form the records are
    ///
    /// Default: told by the first of them. Example: `images.json --format v2`
    #[arg(long, value_enum)]
    pub format: Option<Format>,

    /// What becomes of a record whose image is there already
    ///
    /// Example: `images.json --on-conflict skip`
    #[arg(long, value_enum, default_value_t = Conflict::Update)]
    pub on_conflict: Conflict,

    /// Store the rest where some records are refused; the exit status still tells that there are any
    ///
    /// Default: nothing is stored then. Example: `images.json --keep-going`
    #[arg(long)]
    pub keep_going: bool,

    /// Tell what would be stored, and store nothing
    ///
    /// Default: it is stored. Example: `images.json --dry-run`
    #[arg(long)]
    pub dry_run: bool,
}

/// What the records of an import are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Images as this API shows them
    V1,
    /// Images as the Image API v2 shows them
    V2,
    /// Rows of `openstack image list --long -f json`
    Openstack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Conflict {
    /// The image gets what the record says
    Update,
    /// The image stays as it is
    Skip,
    /// The record is refused
    Fail,
}

/// Images to be written.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// What is written
    ///
    /// Example: `--format sql`
    #[arg(long, value_enum, default_value_t = Written::Json)]
    pub format: Written,

    /// Only the images that a list with this query string shows, such as 'status=active&size_min=1000', in its order
    ///
    /// Default: every image, deleted and killed ones too. Example: `--query 'status=active'`
    ///
    /// As with AUTH=none. `limit` holds without MAX_LIMIT, and all images are written where there is none;
    /// `marker` is refused, because there are no pages.
    #[arg(long)]
    pub query: Option<String>,
}

/// What an export writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Written {
    /// An answer of this API, without members
    Json,
    /// An image a line, each with its members
    Ndjson,
    /// Statements that load on SQLite and PostgreSQL, as a seed or by hand
    Sql,
}

/// A synthetic catalog.
#[derive(Clone, Copy, Debug, Args)]
pub struct Generate {
    /// How many images
    ///
    /// Example: `--count 1000000`
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub count: u64,

    /// Any whole number; another one gives other images
    ///
    /// Example: `--seed 7`
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// The end of the ten years in which the images are created and updated
    ///
    /// Example: `--until 2020-06-30`
    #[arg(long, value_name = "TIME", default_value = "2026-01-01T00:00:00", value_parser = until)]
    pub until: Timestamp,

    /// Keep the images that are there already; where there are any, this or --replace is needed
    ///
    /// Default: refuse. Example: `--append`
    #[arg(long, conflicts_with = "replace")]
    pub append: bool,

    /// Delete the images that are there already
    ///
    /// Default: refuse. Example: `--replace`
    #[arg(long)]
    pub replace: bool,
}

/// A list and who asks for it.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The query string of the list, such as 'status=active&size_min=1000'
    ///
    /// Default: the list without a filter. Example: `'status=active&size_min=1000'`
    #[arg(default_value = "", hide_default_value = true)]
    pub query: String,

    /// Ask as a member of this project
    ///
    /// Default: as with AUTH=none. Example: `--project 23f4cb75768d4febb39542ef6fe169f3`
    #[arg(long, value_name = "PROJECT", global = false)]
    pub project: Option<String>,

    /// Ask as an admin of that project
    ///
    /// Default: as a member. Example: `--project 23f4cb75768d4febb39542ef6fe169f3 --admin`
    #[arg(long, requires = "project")]
    pub admin: bool,

    /// Ask without a token; else, and without a project, as with AUTH=none
    ///
    /// Default: as with AUTH=none. Example: `--anonymous`
    #[arg(long, conflicts_with = "project")]
    pub anonymous: bool,
}

impl Explain {
    pub fn caller(&self) -> Caller {
        match &self.project {
            Some(project) => Caller::Authenticated(Identity {
                user: String::new(),
                project: Some(project.clone()),
                roles: self.admin.then(|| "admin".to_owned()).into_iter().collect(),
            }),
            None if self.anonymous => Caller::Anonymous,
            None => Caller::Unrestricted,
        }
    }
}

/// Every setting, as `--flag` or `VARIABLE`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Where the catalog lies: sqlite://PATH (made if missing) or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    ///
    /// Example: `--database-url postgres://glimpse:secret@db.example.org:5432/glimpse`
    #[arg(long, env, hide_env_values = true, default_value = "sqlite://glimpse.db")]
    pub database_url: String,

    /// A file that holds DATABASE_URL, as container platforms hand secrets over
    ///
    /// Default: none; DATABASE_URL counts. Example: `--database-url-file /run/secrets/database_url`
    #[arg(long, env, value_parser = optional_path)]
    pub database_url_file: Option<Optional<PathBuf>>,

    /// Address to serve on; port 0 takes a free one
    ///
    /// Example: `--listen 0.0.0.0:9292`
    #[arg(long, env, default_value = "127.0.0.1:9292", value_parser = address)]
    pub listen: SocketAddr,

    /// Address to serve /metrics on, apart from the API; on LISTEN unless given
    ///
    /// Default: LISTEN, beside the API. Example: `--metrics-listen 127.0.0.1:9293`
    #[arg(long, env, value_parser = optional_address)]
    pub metrics_listen: Option<Optional<SocketAddr>>,

    /// How callers are told apart
    ///
    /// Example: `--auth tokens`
    #[arg(long, env, value_enum, default_value_t = Auth::None)]
    pub auth: Auth,

    /// Let anybody who reaches it use a service that asks for no token, on an address that is not loopback
    ///
    /// Example: `--allow-unauthenticated`
    #[arg(long, env, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub allow_unauthenticated: bool,

    /// With AUTH=tokens: a JSON file {"TOKEN": {"user": "...", "project": "..." or null, "roles": ["member"]}}
    ///
    /// Default: none. Example: `--auth-tokens-file tokens.json`
    #[arg(long, env, value_parser = optional_path)]
    pub auth_tokens_file: Option<Optional<PathBuf>>,

    /// With AUTH=keystone: its v3 endpoint, whose path is mostly /v3
    ///
    /// Default: none. Example: `--keystone-url https://keystone.example.org:5000/v3`
    #[arg(long, env, hide_env_values = true, default_value = "", hide_default_value = true)]
    pub keystone_url: String,

    /// With AUTH=keystone: the name of the service's own account
    ///
    /// Default: none. Example: `--keystone-username glimpse`
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub keystone_username: String,

    /// With AUTH=keystone: the password of the service's own account
    ///
    /// Everybody on the machine may see a flag: rather set the variable or the file. Default: none. Example: `--keystone-password secret`
    #[arg(long, env, hide_env_values = true, default_value = "", hide_default_value = true)]
    pub keystone_password: String,

    /// A file that holds KEYSTONE_PASSWORD
    ///
    /// Default: none; KEYSTONE_PASSWORD counts. Example: `--keystone-password-file /run/secrets/keystone_password`
    #[arg(long, env, value_parser = optional_path)]
    pub keystone_password_file: Option<Optional<PathBuf>>,

    /// With AUTH=keystone: the project of the service's own account, in which it may validate tokens
    ///
    /// Default: none. Example: `--keystone-project service`
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub keystone_project: String,

    /// With AUTH=keystone: the id of the domain of that account and project
    ///
    /// Example: `--keystone-domain 1b5f8e0c6d3a4f2e9c7b8a6d5e4f3a2b`
    #[arg(long, env, default_value = "default")]
    pub keystone_domain: String,

    /// With AUTH=keystone: certificates in PEM to trust beside the system's
    ///
    /// Default: the system's certificates alone. Example: `--keystone-ca-file /etc/ssl/private-ca.pem`
    #[arg(long, env, value_parser = optional_path)]
    pub keystone_ca_file: Option<Optional<PathBuf>>,

    /// The longest wait for Keystone; then 503
    ///
    /// Example: `--keystone-timeout 500ms`
    #[arg(long, env, default_value = "3s", value_parser = duration)]
    pub keystone_timeout: Duration,

    /// How long a valid token is remembered, but never past its end
    ///
    /// Example: `--token-cache 1m`
    #[arg(long, env, default_value = "300s", value_parser = duration)]
    pub token_cache: Duration,

    /// Let a caller without a token see public images
    ///
    /// Example: `--anonymous-public`
    #[arg(long, env, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub anonymous_public: bool,

    /// Role names, comma-separated; an authenticated caller with none of them gets 403
    ///
    /// Default: any role, and none. Example: `--allowed-roles member,reader`
    #[arg(long, env, default_value = "", hide_default_value = true)]
    pub allowed_roles: String,

    /// A folder of SQL seeds NUMBER_name.sql, each applied once
    ///
    /// Default: no seeds. Example: `--seeds migrations/seeds`
    #[arg(long = "seeds", value_name = "SEEDS_DIR", env = "SEEDS_DIR", value_parser = optional_path)]
    pub seeds_dir: Option<Optional<PathBuf>>,

    /// A JSON file of rules by which requests fail on purpose, to try clients in a test environment
    ///
    /// Default: none fails on purpose. Example: `--faults faults.json`
    #[arg(long = "faults", value_name = "FAULTS_FILE", env = "FAULTS_FILE", value_parser = optional_path)]
    pub faults_file: Option<Optional<PathBuf>>,

    /// Images in a page whose query has no limit; MAX_LIMIT unless given
    ///
    /// Default: MAX_LIMIT. Example: `--default-limit 25`
    #[arg(long, env, value_parser = optional_page_size)]
    pub default_limit: Option<Optional<u32>>,

    /// Images in any page; a larger limit is capped
    ///
    /// Example: `--max-limit 100`
    #[arg(long, env, default_value = "1000", value_parser = page_size)]
    pub max_limit: u32,

    /// Connections to the database; chosen by engine unless given
    ///
    /// Default: twice the cores, 4 to 16, for SQLite; 10 for PostgreSQL. Example: `--database-connections 20`
    #[arg(long, env, value_parser = connections)]
    pub database_connections: Option<Optional<u32>>,

    /// What stands between Glimpse and PostgreSQL
    ///
    /// Example: `--pooler transaction`
    #[arg(long, env, value_enum, default_value_t = Pooler::None)]
    pub pooler: Pooler,

    /// The longest wait for a connection; then 503
    ///
    /// Example: `--acquire-timeout 500ms`
    #[arg(long, env, default_value = "2s", value_parser = duration)]
    pub acquire_timeout: Duration,

    /// The longest time that a query may run; then 503
    ///
    /// Example: `--query-timeout 30s`
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub query_timeout: Duration,

    /// Rows, times the square root of the page, that are passed over before another plan is looked for
    ///
    /// Example: `--walk-limit 500`
    #[arg(long, env, default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub walk_limit: u32,

    /// The longest wait for PostgreSQL at the start, and for a sign of life of it during long work
    ///
    /// Example: `--connect-timeout 2m`
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub connect_timeout: Duration,

    /// The longest wait for a client to send a whole head, or to take more of its answer; then its connection is closed
    ///
    /// Example: `--client-timeout 30s`
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub client_timeout: Duration,

    /// The longest wait for requests in flight at the end
    ///
    /// Example: `--shutdown-timeout 20s`
    #[arg(long, env, default_value = "8s", value_parser = duration)]
    pub shutdown_timeout: Duration,

    /// Bring the schema up to date and apply the seeds at the start; false touches neither
    ///
    /// Example: `--migrate false`
    #[arg(long, env, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = true)]
    pub migrate: bool,

    /// Scheme and host of the links in version documents, for use behind a proxy
    ///
    /// Default: the host that the client has asked. Example: `--public-url https://images.example.org`
    #[arg(long, env, hide_env_values = true, default_value = "", hide_default_value = true)]
    pub public_url: String,

    /// What is logged, as tracing's directives, such as warn or info,glimpse=debug
    ///
    /// Example: `--log info,glimpse=debug`
    #[arg(long = "log", value_name = "RUST_LOG", env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,

    /// The form of the log
    ///
    /// Example: `--log-format json`
    #[arg(long, env, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// No token is asked for
    None,
    /// Tokens of AUTH_TOKENS_FILE
    Tokens,
    /// Tokens of Keystone
    Keystone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooler {
    /// Nothing, or what keeps a connection for each of Glimpse's
    None,
    /// A pooler in transaction mode, such as PgBouncer
    Transaction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The command line as clap knows it; every flag may stand before or after the subcommand.
pub fn command() -> clap::Command {
    Cli::command().mut_args(|argument| argument.global(true))
}

impl Cli {
    /// Reads `.env` in the working folder, then environment and command line, which go before it,
    /// then the files of secrets.
    ///
    /// Ends the process with status 2 and a message that names the variable, its value and what
    /// is accepted, or with status 0 after `--help` and `--version`.
    ///
    /// # Errors
    /// A `.env`, or the file of a secret, that cannot be read; a secret that is given twice.
    pub fn read() -> anyhow::Result<Self> {
        if let Some(cli) = Self::without_settings() {
            return Ok(cli);
        }
        let variables = variables::read();
        let command = command();
        let matches = command.clone().try_get_matches();
        // Help is given whatever is wrong with `.env`.
        let variables = match &matches {
            Err(asked) if !asked.use_stderr() => asked.exit(),
            _ => variables?,
        };
        let matches = matches.unwrap_or_else(|error| error.exit());
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.given = origin::all(&command, &matches, &variables);
        secrets::read(&mut cli.settings, &mut cli.given)?;
        cli.unknown = variables.unknown(&cli.given.iter().map(|given| given.variable.as_str()).collect::<Vec<_>>());
        Ok(cli)
    }

    /// The command line alone, where it asks for what describes the program: that is the same
    /// wherever it is asked for, as where a package is built, whatever the environment says.
    fn without_settings() -> Option<Self> {
        let command = command().mut_args(|argument| argument.env(Resettable::Reset));
        let cli = Self::from_arg_matches(&command.try_get_matches().ok()?).ok()?;
        let describes = matches!(cli.command, Some(Command::Completions(_) | Command::Man(_)));
        describes.then_some(cli)
    }
}

impl Settings {
    /// Looks for what the start would refuse, as far as the settings alone tell.
    ///
    /// # Errors
    /// Those of [`Settings::target`], [`Settings::limits`], [`Settings::faults`], [`Settings::access`] and
    /// [`Settings::public_url`].
    pub fn check(&self) -> anyhow::Result<()> {
        self.target()?;
        self.limits()?;
        self.faults()?;
        self.access()?;
        self.public_url()?;
        Ok(())
    }

    /// Where the catalog lies.
    ///
    /// # Errors
    /// See [`Target::parse`].
    pub fn target(&self) -> anyhow::Result<Target> {
        Target::parse(&self.database_url)
    }

    pub fn patience(&self) -> Patience {
        Patience {
            connections: given(self.database_connections.as_ref()).copied(),
            acquire: self.acquire_timeout,
            query: self.query_timeout,
            pooled: self.pooler == Pooler::Transaction,
            walk: self.walk_limit,
        }
    }

    pub fn seeds_dir(&self) -> Option<&Path> {
        given(self.seeds_dir.as_ref()).map(PathBuf::as_path)
    }

    pub fn metrics_listen(&self) -> Option<SocketAddr> {
        given(self.metrics_listen.as_ref()).copied()
    }

    /// What the links in version documents begin with, if not with the host that the client has asked.
    ///
    /// # Errors
    /// For a URL of another kind, or with more than a scheme and a host.
    pub fn public_url(&self) -> anyhow::Result<Option<String>> {
        if self.public_url.is_empty() {
            return Ok(None);
        }
        let plain = self.public_url.parse::<Uri>().ok().and_then(|uri| {
            let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
            let host = uri.authority()?.as_str();
            let is_plain = !host.contains('@') && uri.path() == "/" && uri.query().is_none();
            is_plain.then(|| format!("{scheme}://{host}"))
        });
        // Not by clap, which would show what is refused, with a password in it.
        let shown = if self.public_url.contains('@') { "..." } else { &self.public_url };
        let refused = || {
            anyhow!(
                "The value '{shown}' of PUBLIC_URL is not accepted; it takes http:// or https:// and a host, such as \
                 https://images.example.org."
            )
        };
        plain.ok_or_else(refused).map(Some)
    }

    /// The sizes of pages.
    ///
    /// # Errors
    /// Where `DEFAULT_LIMIT` is above `MAX_LIMIT`.
    pub fn limits(&self) -> anyhow::Result<Limits> {
        let max = self.max_limit;
        let default = given(self.default_limit.as_ref()).copied().unwrap_or(max);
        ensure!(
            default <= max,
            "DEFAULT_LIMIT is {default}, above MAX_LIMIT, which is {max}; at most {max} is accepted."
        );
        Ok(Limits { default, max })
    }

    /// What fails on purpose.
    ///
    /// # Errors
    /// With `AUTH=keystone`, which is for clouds that people rely on; rules about callers where there
    /// are none; and those of [`Faults::read`].
    pub fn faults(&self) -> anyhow::Result<Option<Faults>> {
        let Some(path) = given(self.faults_file.as_ref()) else { return Ok(None) };
        ensure!(
            self.auth != Auth::Keystone,
            "FAULTS_FILE is {}, and AUTH is keystone: faults on purpose are for test environments alone. \
             Take FAULTS_FILE away, or set AUTH=none or AUTH=tokens.",
            path.display()
        );
        let faults = Faults::read(path)?;
        if let Some(rule) = faults.rules().iter().find(|rule| self.auth == Auth::None && rule.needs_caller()) {
            bail!(
                "The file {} (FAULTS_FILE) is refused: {} asks for a project or user, which nobody has with AUTH=none.",
                path.display(),
                rule.label()
            );
        }
        Ok(Some(faults))
    }

    /// Who may ask.
    ///
    /// # Errors
    /// Where anybody could, without `ALLOW_UNAUTHENTICATED`; and for an unusable file of tokens.
    pub fn access(&self) -> anyhow::Result<Access> {
        let authenticator = match self.auth {
            Auth::None => {
                ensure!(
                    self.listen.ip().is_loopback() || self.allow_unauthenticated,
                    "LISTEN is {}, which other machines may reach, and with AUTH=none anybody there could read the \
                     whole catalog. Set AUTH=tokens, a loopback address, or ALLOW_UNAUTHENTICATED=true if that is meant.",
                    self.listen
                );
                Authenticator::None
            }
            Auth::Tokens => match given(self.auth_tokens_file.as_ref()) {
                Some(path) => Authenticator::Tokens(Tokens::read(path)?),
                None => bail!("AUTH=tokens needs AUTH_TOKENS_FILE, the path of a JSON file of tokens."),
            },
            Auth::Keystone => Authenticator::Keystone(Box::new(self.keystone()?)),
        };
        let roles = self.allowed_roles.split(',').map(str::trim).filter(|role| !role.is_empty());
        Ok(Access::new(authenticator, self.anonymous_public, roles.map(str::to_owned).collect()))
    }

    fn keystone(&self) -> anyhow::Result<Keystone> {
        let needed = |variable: &str, value: &str| {
            ensure!(!value.trim().is_empty(), "AUTH=keystone needs {variable}.");
            Ok(value.to_owned())
        };
        let account = Account {
            url: keystone::endpoint(&needed("KEYSTONE_URL", &self.keystone_url)?)?,
            username: needed("KEYSTONE_USERNAME", &self.keystone_username)?,
            password: needed("KEYSTONE_PASSWORD", &self.keystone_password)?,
            project: needed("KEYSTONE_PROJECT", &self.keystone_project)?,
            domain: needed("KEYSTONE_DOMAIN", &self.keystone_domain)?,
            timeout: self.keystone_timeout,
            cache: self.token_cache,
        };
        Keystone::new(account, given(self.keystone_ca_file.as_ref()).map(PathBuf::as_path))
    }
}
