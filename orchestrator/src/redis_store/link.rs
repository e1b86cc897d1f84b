//! The connection: made when it is needed, given up when it breaks. Nothing is sent twice here; who
//! calls knows what may be.

use super::address::{Address, Kind};
use super::error::{self, OpenError, strange};
use super::limits;
use futures_util::StreamExt;
use gristmill_actors::ports::StoreError;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSubStream};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisError, Value};
use std::sync::PoisonError;
use tokio::sync::Mutex;

const LIBRARY: &str = include_str!("gristmill_v2.lua");

/// A connection that stands.
#[derive(Clone)]
enum Live {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The way to the server.
pub(super) struct Link {
    address: Address,
    live: std::sync::RwLock<Option<(u64, Live)>>,
    making: Mutex<u64>,
    sentinels: Option<Mutex<SentinelClient>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::CONNECT_MAX))
        .set_response_timeout(Some(limits::ANSWER_MAX))
        .set_pipeline_buffer_size(limits::PIPELINE_MAX)
}

impl Link {
    pub(super) fn new(address: Address) -> Result<Self, OpenError> {
        if address.tls && rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may be first; then it installed the same one.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let wrong = |error: RedisError| OpenError::Address { detail: error.to_string() };
        let sentinels = match &address.kind {
            Kind::Sentinel(master) => Some(Mutex::new(sentinels(&address, master).map_err(wrong)?)),
            Kind::Single | Kind::Cluster => None,
        };
        let (live, making) = (std::sync::RwLock::default(), Mutex::new(0));
        Ok(Self { address, live, making, sentinels })
    }

    /// Whether keys of two shards may be named in one command.
    pub(super) fn is_cluster(&self) -> bool {
        self.address.kind == Kind::Cluster
    }

    pub(super) fn db(&self) -> i64 {
        self.address.db
    }

    /// Who this node is on the server.
    pub(super) fn user(&self) -> String {
        self.address.login().username().unwrap_or("default").to_owned()
    }

    /// Sends one command.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, StoreError> {
        let (number, mut live) = self.live().await?;
        let answer = match &mut live {
            Live::Node(node) => node.req_packed_command(command).await,
            Live::Cluster(cluster) => cluster.req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error).map_err(|error| self.judge(number, &error))
    }

    /// Sends commands about one slot, in one go; one answer a command.
    pub(super) async fn pipe(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let count = commands.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let (number, mut live) = self.live().await?;
        let answers = match &mut live {
            Live::Node(node) => node.req_packed_commands(commands, 0, count).await,
            Live::Cluster(cluster) => cluster.req_packed_commands(commands, 0, count).await,
        };
        let answers = answers.map(Value::Array).and_then(Value::extract_error);
        let answers = answers.map_err(|error| self.judge(number, &error))?;
        let answers = super::value::array(answers, "a pipeline")?;
        if answers.len() == count { Ok(answers) } else { Err(strange("a pipeline")) }
    }

    /// Sends one command to every master; their answers, in no order.
    pub(super) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, StoreError> {
        let (number, live) = self.live().await?;
        let Live::Cluster(mut cluster) = live else {
            return Ok(vec![self.call(command).await?]);
        };
        let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = cluster.route_command(command.clone(), routing).await;
        match answers.and_then(Value::extract_error).map_err(|error| self.judge(number, &error))? {
            Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
            _ => Err(strange("a command to all masters")),
        }
    }

    /// Loads the library where it is not, or is another one under this version's name.
    pub(super) async fn load_library(&self) -> Result<(), StoreError> {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(LIBRARY);
        self.everywhere(&load).await.map(drop)
    }

    fn judge(&self, number: u64, error: &RedisError) -> StoreError {
        if error::is_broken(error) && !self.is_cluster() {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            live.take_if(|(known, _)| *known == number);
        }
        error::meaning(error)
    }

    fn standing(&self) -> Option<(u64, Live)> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection; made now if there is none. Nothing was sent if that fails.
    async fn live(&self) -> Result<(u64, Live), StoreError> {
        if let Some(live) = self.standing() {
            return Ok(live);
        }
        let mut number = self.making.lock().await;
        if let Some(live) = self.standing() {
            return Ok(live);
        }
        let made = tokio::time::timeout(limits::ANSWER_MAX, self.connect()).await;
        let made = match made {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(_) => Err("no connection in time".to_owned()),
        };
        let made = made.map_err(|detail| StoreError::Unavailable { detail })?;
        *number += 1;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        Ok(live.insert((*number, made)).clone())
    }

    async fn connect(&self) -> Result<Live, RedisError> {
        match &self.address.kind {
            Kind::Cluster => {
                let login = self.address.login().set_db(0);
                let nodes = self.address.addresses().into_iter().map(|address| {
                    let node = address.into_connection_info()?;
                    Ok(node.set_redis_settings(login.clone()))
                });
                let nodes: Result<Vec<_>, RedisError> = nodes.collect();
                let client = ClusterClientBuilder::new(nodes?)
                    .retries(limits::REDIRECTS_MAX)
                    .connection_timeout(limits::CONNECT_MAX)
                    .response_timeout(limits::ANSWER_MAX)
                    .tcp_settings(tcp())
                    .build()?;
                Ok(Live::Cluster(client.get_async_connection().await?))
            }
            Kind::Single | Kind::Sentinel(_) => {
                let client = self.client().await?;
                let patience = patience();
                let node = client.get_multiplexed_async_connection_with_config(&patience);
                Ok(Live::Node(node.await?))
            }
        }
    }

    /// A client of the server, or of one node of the cluster.
    async fn client(&self) -> Result<Client, RedisError> {
        if let Some(sentinels) = &self.sentinels {
            return sentinels.lock().await.async_get_client().await;
        }
        let mut last = None;
        for address in self.address.addresses() {
            let node = address.into_connection_info()?.set_tcp_settings(tcp());
            let client = Client::open(node.set_redis_settings(self.address.login()))?;
            if !self.is_cluster() {
                return Ok(client);
            }
            match client.get_multiplexed_async_connection_with_config(&patience()).await {
                Ok(_) => return Ok(client),
                Err(error) => last = Some(error),
            }
        }
        let none = || RedisError::from((redis::ErrorKind::Client, "no server is named"));
        Err(last.unwrap_or_else(none))
    }

    /// Messages of a channel, until the connection breaks.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<PubSubStream, StoreError> {
        let subscribe = async {
            let mut listener = self.client().await?.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, RedisError>(listener.into_on_message())
        };
        match tokio::time::timeout(limits::ANSWER_MAX, subscribe).await {
            Ok(stream) => stream.map_err(|error| error::meaning(&error)),
            Err(_) => Err(StoreError::Unavailable { detail: "no subscription in time".to_owned() }),
        }
    }
}

/// The next message of a subscription; none when it broke.
pub(super) async fn next(messages: &mut PubSubStream) -> Option<Vec<u8>> {
    messages.next().await.map(|message| message.get_payload_bytes().to_vec())
}

fn sentinels(address: &Address, master: &str) -> Result<SentinelClient, RedisError> {
    let login = address.login();
    let hosts = address.addresses();
    let mut builder = SentinelClientBuilder::new(hosts, master, SentinelServerType::Master)?
        .set_client_to_redis_db(address.db)
        .set_client_to_redis_tcp_settings(tcp());
    if let Some(user) = login.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if address.tls {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    builder.build()
}
