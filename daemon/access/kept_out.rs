//! The clients that are kept out for a while after a kick.
//!
//! A client is recognized by its name. Without a name it is recognized by its token, or by its process on the local socket;
//! not by a process that speaks HTTP there, which may be a proxy for many clients. The table has at most [`KEPT_OUT_MAX`]
//! entries; at the limit further kicks with a time are refused. A name never stands for a token or a process that is displayed
//! the same.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sse_bus::{
    limits::{KEEP_OUT_MAX, KEPT_OUT_MAX},
    protocol::{ClientInfo, ErrorCode, KeptOut, Refused, Transport},
    time::{format_duration, unix_now, whole_millis},
};

/// The clients that are kept out, with the time when each is let in again.
#[derive(Default)]
pub(crate) struct KeptOutClients(Mutex<Table>);

type Table = HashMap<Identity, Instant>;

/// By what a client is recognized when it connects again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Name(String),
    Token(String),
    Process(String),
}

impl Identity {
    /// Returns the identity of a client without a name.
    fn of_peer(peer: &str, via: Transport) -> Option<Identity> {
        // The peer is displayed as in `Caller`.
        if let Some(at) = peer.find("(token ") {
            return Some(Identity::Token(peer[at..].into()));
        }
        let is_process = via != Transport::Sse && peer.parse::<SocketAddr>().is_err();
        is_process.then(|| Identity::Process(peer.into()))
    }

    fn of(client: &ClientInfo) -> Option<Identity> {
        let name = client.name.clone().map(Identity::Name);
        name.or_else(|| Identity::of_peer(&client.peer, client.via))
    }

    /// The identity as it is listed.
    fn as_str(&self) -> &str {
        let (Identity::Name(text) | Identity::Token(text) | Identity::Process(text)) = self;
        text
    }
}

impl KeptOutClients {
    /// Keeps clients out from now on. Zero lets them in again.
    ///
    /// # Errors
    ///
    /// The time is too long, a client cannot be recognized, or there are too many entries. Then nothing changes.
    pub(crate) fn keep_out(&self, clients: &[ClientInfo], time: Duration) -> Result<(), Refused> {
        let identities = clients.iter().map(|client| {
            Identity::of(client).ok_or_else(|| {
                let message = format!(
                    "client {} cannot be kept out: it has no name, token or process by which it could be recognized; \
                     nothing was closed",
                    client.id
                );
                Refused::new(ErrorCode::RequestInvalid, message)
            })
        });
        self.apply(&identities.collect::<Result<_, _>>()?, time)
    }

    /// Keeps the clients with a name out from now on. Zero lets them in again.
    ///
    /// # Errors
    ///
    /// The time is too long, or there are too many entries.
    pub(crate) fn keep_name_out(&self, name: &str, time: Duration) -> Result<(), Refused> {
        self.apply(&[Identity::Name(name.into())].into(), time)
    }

    fn apply(&self, identities: &HashSet<Identity>, time: Duration) -> Result<(), Refused> {
        if time > KEEP_OUT_MAX {
            let most = format_duration(KEEP_OUT_MAX);
            return Err(Refused::new(ErrorCode::RequestInvalid, format!("a client is kept out for at most {most}")));
        }
        let now = Instant::now();
        let mut kept_out = self.lock(now);
        let new = identities.iter().filter(|identity| !kept_out.contains_key(*identity)).count();
        if !time.is_zero() && kept_out.len() + new > KEPT_OUT_MAX {
            let message = format!("{KEPT_OUT_MAX} clients are kept out already; `status` lists them");
            return Err(Refused::new(ErrorCode::LimitKeptOut, message));
        }
        for identity in identities {
            if time.is_zero() {
                kept_out.remove(identity);
            } else {
                kept_out.insert(identity.clone(), now + time);
            }
        }
        Ok(())
    }

    /// Changes the time of a client that is kept out and therefore not connected. Returns true if there is one.
    pub(crate) fn change(&self, client: &str, time: Duration) -> bool {
        let now = Instant::now();
        let mut kept_out = self.lock(now);
        let before = kept_out.len();
        if time.is_zero() {
            kept_out.retain(|identity, _| identity.as_str() != client);
            return kept_out.len() < before;
        }
        let mut is_known = false;
        for (_, until) in kept_out.iter_mut().filter(|(identity, _)| identity.as_str() == client) {
            (*until, is_known) = (now + time.min(KEEP_OUT_MAX), true);
        }
        is_known
    }

    /// Refuses a client that is kept out. `via` is the transport of its connection.
    pub(crate) fn check(&self, name: Option<&str>, peer: &str, via: Transport) -> Result<(), Refused> {
        match self.rest(name, peer, via) {
            Some(rest) => {
                let rest = format_duration(Duration::from_secs(rest.as_secs() + 1));
                let message = format!("this client was disconnected by an administrator and is kept out for {rest}");
                Err(Refused::new(ErrorCode::KeptOut, message))
            }
            None => Ok(()),
        }
    }

    /// Returns how long a client is still kept out.
    fn rest(&self, name: Option<&str>, peer: &str, via: Transport) -> Option<Duration> {
        let now = Instant::now();
        let kept_out = self.lock(now);
        if kept_out.is_empty() {
            return None;
        }
        let name = name.map(|name| Identity::Name(name.into()));
        let identities = name.into_iter().chain(Identity::of_peer(peer, via));
        identities.filter_map(|identity| kept_out.get(&identity)).max().map(|until| *until - now)
    }

    /// Returns the clients that are kept out, by name.
    pub(crate) fn list(&self) -> Vec<KeptOut> {
        let now = Instant::now();
        let until = |until: &Instant| unix_now() + whole_millis(*until - now);
        let mut list: Vec<_> =
            self.lock(now).iter().map(|(client, at)| KeptOut::new(client.as_str(), until(at))).collect();
        list.sort_by(|a, b| a.client.cmp(&b.client));
        list
    }

    /// Returns the table without entries that have expired.
    fn lock(&self, now: Instant) -> MutexGuard<'_, Table> {
        let mut kept_out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept_out.retain(|_, until| *until > now);
        kept_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: Option<&str>, peer: &str, via: Transport) -> ClientInfo {
        let fields = serde_json::json!({"id": "c1", "name": name, "role": "subscriber", "via": via, "peer": peer,
            "filters": [], "connected": 0, "events": 0, "lag": 0});
        serde_json::from_value(fields).unwrap()
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_client_is_recognized_by_its_name_else_by_its_token_or_process() {
        for (kicked, kept_out, let_in) in [
            (
                (Some("tab"), "127.0.0.1:1 (token a)", Transport::Sse),
                (Some("tab"), "127.0.0.1:2 (token b)", Transport::Sse),
                (None, "127.0.0.1:1 (token a)", Transport::Sse),
            ),
            (
                (None, "127.0.0.1:1 (token a)", Transport::Sse),
                (Some("tab"), "127.0.0.1:2 (token a)", Transport::Sse),
                (None, "127.0.0.1:1 (token b)", Transport::Sse),
            ),
            (
                (None, "python3 (pid 7)", Transport::Json),
                (None, "python3 (pid 7)", Transport::Binary),
                (None, "python3 (pid 8)", Transport::Json),
            ),
        ] {
            let table = KeptOutClients::default();
            table.keep_out(&[client(kicked.0, kicked.1, kicked.2)], MINUTE).unwrap();
            let refused = table.check(kept_out.0, kept_out.1, kept_out.2).unwrap_err();
            assert!(refused.code == ErrorCode::KeptOut && refused.message.ends_with("for 1m"), "{refused}");
            assert_eq!(table.check(let_in.0, let_in.1, let_in.2), Ok(()), "{let_in:?}");
            assert_eq!(table.list().len(), 1);
            table.keep_out(&[client(kicked.0, kicked.1, kicked.2)], Duration::ZERO).unwrap();
            assert_eq!(table.check(kept_out.0, kept_out.1, kept_out.2), Ok(()));
        }
    }

    #[test]
    fn a_client_that_cannot_be_recognized_is_not_kept_out() {
        let table = KeptOutClients::default();
        for peer in ["127.0.0.1:1", "[::1]:1", "nginx (pid 7)"] {
            let clients = [client(Some("tab"), "127.0.0.1:2", Transport::Sse), client(None, peer, Transport::Sse)];
            assert_eq!(table.keep_out(&clients, MINUTE).unwrap_err().code, ErrorCode::RequestInvalid, "{peer}");
        }
        assert_eq!(table.list(), []);
    }

    #[test]
    fn a_name_that_looks_like_a_token_or_a_process_keeps_out_only_itself() {
        let (token, process) = ("127.0.0.1:1 (token a)", "python3 (pid 7)");
        let table = KeptOutClients::default();
        for name in ["(token a)", process] {
            table.keep_out(&[client(Some(name), "127.0.0.1:2", Transport::Sse)], MINUTE).unwrap();
            assert!(table.check(Some(name), "127.0.0.1:3", Transport::Sse).is_err());
        }
        assert_eq!(table.check(None, token, Transport::Sse), Ok(()));
        assert_eq!(table.check(None, process, Transport::Json), Ok(()));
        assert!(table.change("(token a)", Duration::ZERO) && table.change(process, Duration::ZERO));
        assert_eq!(table.list(), []);
    }

    #[test]
    fn connections_of_one_name_need_one_entry() {
        let table = KeptOutClients::default();
        let tabs = vec![client(Some("tab"), "", Transport::Sse); KEPT_OUT_MAX + 1];
        table.keep_out(&tabs, MINUTE).unwrap();
        assert_eq!(table.list().len(), 1);
    }

    #[test]
    fn the_table_and_the_time_are_bounded() {
        let table = KeptOutClients::default();
        let named = |n: usize| client(Some(&format!("tab {n}")), "", Transport::Sse);
        let many: Vec<_> = (0..KEPT_OUT_MAX).map(named).collect();
        table.keep_out(&many, MINUTE).unwrap();
        assert_eq!(table.keep_out(&[named(KEPT_OUT_MAX)], MINUTE).unwrap_err().code, ErrorCode::LimitKeptOut);
        table.keep_out(&many[..1], KEEP_OUT_MAX).unwrap();
        assert!(table.change("tab 1", Duration::ZERO) && !table.change("tab 1", MINUTE));
        table.keep_out(&[named(KEPT_OUT_MAX)], MINUTE).unwrap();
        assert!(table.keep_out(&many[..1], KEEP_OUT_MAX + Duration::from_millis(1)).is_err());
    }
}
