//! The tokens, up to date with their file.
//!
//! Each request with a token checks the file, on a thread that may block: a hanging disk delays requests with tokens, and nothing
//! else. One check at a time serves all requests that arrived before it began. A revoked token is refused from the next request
//! on.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use sse_bus::tokens::{Token, TokenFile, Version};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::spawn_blocking,
};
use tracing::warn;

/// The tokens, up to date with their file.
pub(super) struct CurrentTokens {
    file: TokenFile,
    tokens: Arc<ArcSwap<Tokens>>,
    /// Held by the thread that checks the file, even if no request waits for it any more: there is one at most.
    last: Arc<Mutex<LastLook>>,
}

/// All tokens, expired ones included.
#[derive(Clone, Default)]
pub(super) struct Tokens(pub(super) Vec<Arc<Token>>);

#[derive(Default)]
struct LastLook {
    began: Option<Instant>,
    version: Option<Version>,
}

impl Tokens {
    /// Returns the token with an ID, unless it has expired.
    pub(super) fn valid(&self, id: &str, now: u64) -> Option<&Arc<Token>> {
        self.0.iter().find(|token| token.id == id).filter(|token| !token.is_expired(now))
    }
}

impl CurrentTokens {
    pub(super) fn new(file: TokenFile) -> CurrentTokens {
        CurrentTokens { file, tokens: Arc::default(), last: Arc::default() }
    }

    /// Returns the tokens as they were when this was called, or later.
    pub(super) async fn get(&self) -> Arc<Tokens> {
        let asked = Instant::now();
        let last = self.last.clone().lock_owned().await;
        if last.began.is_none_or(|began| began < asked) {
            let (file, tokens) = (self.file.clone(), self.tokens.clone());
            if spawn_blocking(move || look(&file, &tokens, last)).await.is_err() {
                // The check failed: no token is valid.
                return Arc::default();
            }
        }
        self.tokens.load_full()
    }
}

fn look(file: &TokenFile, tokens: &ArcSwap<Tokens>, mut last: OwnedMutexGuard<LastLook>) {
    last.began = Some(Instant::now());
    let version = file.version();
    if last.version == Some(version) {
        return;
    }
    let read = match file.read() {
        Ok(read) => read.into_iter().map(Arc::new).collect(),
        Err(error) => {
            warn!(%error, "all tokens are refused until this is fixed");
            Vec::new()
        }
    };
    tokens.store(Arc::new(Tokens(read)));
    last.version = Some(version);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sse_bus::tokens::NewToken;

    use super::*;

    #[tokio::test]
    async fn a_change_of_the_file_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        let current = CurrentTokens::new(file.clone());
        assert!(current.get().await.0.is_empty());
        let (token, _) = file.create(NewToken::default(), 1).unwrap();
        assert!(current.get().await.valid(&token.id, 1).is_some());
        file.revoke(&token.id).unwrap();
        assert!(current.get().await.0.is_empty());
    }

    /// The disk hangs: the lock is held by the thread that waits for it.
    #[tokio::test]
    async fn one_look_serves_all_that_wait_for_it_and_no_other_thread_begins_one() {
        let folder = tempfile::tempdir().unwrap();
        let current = Arc::new(CurrentTokens::new(TokenFile::in_directory(folder.path())));
        let mut hanging = current.last.clone().lock_owned().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let (current, asked) = (current.clone(), asked.clone());
                tokio::spawn(async move {
                    asked.fetch_add(1, Ordering::Relaxed);
                    current.get().await
                })
            })
            .collect();
        while asked.load(Ordering::Relaxed) < waiting.len() {
            tokio::task::yield_now().await;
        }
        assert!(waiting.iter().all(|task| !task.is_finished()));
        // A look that began after they came.
        hanging.began = Some(Instant::now());
        drop(hanging);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(current.last.lock().await.version, None, "the file was not read again");
    }
}
