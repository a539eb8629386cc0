//! Host names, looked up off the control thread.
//!
//! A resolver that hangs costs the one who asked a second and the process one blocking thread a name, never more: a
//! look-up that is still running is joined, not repeated. Monitors and peers ask; nothing is cached beyond that, since
//! the core asks only when it has to connect.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing while the look-up runs, then what it found.
type Lookup = watch::Receiver<Option<Option<IpAddr>>>;

/// Looks up host names. Lives on the control thread.
#[derive(Debug)]
pub struct Resolver {
    /// Where look-ups run: the runtime that may have blocking threads.
    runtime: Handle,
    running: RefCell<BTreeMap<Arc<str>, Lookup>>,
}

impl Resolver {
    /// A resolver that works on `runtime`.
    pub fn new(runtime: Handle) -> Resolver {
        Resolver { runtime, running: RefCell::default() }
    }

    /// The first address of `host`, or `None` if it has none or nobody said so within a second.
    pub async fn lookup(&self, host: &Arc<str>) -> Option<IpAddr> {
        let mut lookup = self.join(host);
        // An error means that the look-up's task died without an answer; that is no address either.
        match tokio::time::timeout(PATIENCE, lookup.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => found.flatten(),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The running look-up of `host`, started if there is none.
    fn join(&self, host: &Arc<str>) -> Lookup {
        let mut running = self.running.borrow_mut();
        // The sending side of a look-up lives as long as the look-up does.
        running.retain(|_, lookup| lookup.has_changed().is_ok());
        running.entry(Arc::clone(host)).or_insert_with(|| self.start(Arc::clone(host))).clone()
    }

    fn start(&self, host: Arc<str>) -> Lookup {
        let (answer, lookup) = watch::channel(None);
        // Nobody observes this task's end but through `answer`, which it drops however it ends.
        self.runtime.spawn(async move {
            let found = tokio::net::lookup_host((&*host, 0)).await.ok().and_then(|mut addrs| addrs.next());
            answer.send_replace(Some(found.map(|addr| addr.ip().to_canonical())));
        });
        lookup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finds_an_address_and_says_when_there_is_none() {
        let resolver = Resolver::new(Handle::current());
        assert!(resolver.lookup(&Arc::from("localhost")).await.is_some_and(|ip| ip.is_loopback()));
        assert_eq!(resolver.lookup(&Arc::from("no such host")).await, None);
    }

    #[tokio::test]
    async fn a_running_look_up_is_joined_and_a_finished_one_is_not() {
        let resolver = Resolver::new(Handle::current());
        let host: Arc<str> = Arc::from("localhost");
        let (first, second) = (resolver.join(&host), resolver.join(&host));
        assert!(first.same_channel(&second));
        let finished = first.clone();
        assert!(resolver.lookup(&host).await.is_some());
        // The task drops its sending side right after it has answered.
        while finished.has_changed().is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!resolver.join(&host).same_channel(&second));
    }
}
