//! How much one caller may ask for: a bucket of points that fills again, and so many requests at once.
//!
//! A request costs what its document costs. Whoever asks for too much at once waits for a place; whoever has emptied
//! the bucket is told when to come back. Nobody's flood takes the places of the others.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::access::Caller;
use crate::http::guard::Rejection;

/// Longest wait for a place among one's own requests.
const PATIENCE: Duration = Duration::from_secs(5);
/// Callers that are remembered before those at rest are forgotten.
const REMEMBERED: usize = 10_000;

/// What one caller may have.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Points that can be spent at once.
    pub burst: NonZeroU32,
    /// Points that come back each second.
    pub per_second: NonZeroU32,
    /// Requests that are worked on at once.
    pub at_once: u32,
}

/// Keeps every caller to the rates.
pub struct Limiter {
    rates: Rates,
    points: DefaultKeyedRateLimiter<String>,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    clock: DefaultClock,
}

impl Limiter {
    /// Nobody has asked yet.
    pub fn new(rates: Rates) -> Limiter {
        let quota = Quota::per_second(rates.per_second).allow_burst(rates.burst);
        Limiter {
            rates,
            points: RateLimiter::keyed(quota),
            places: Mutex::default(),
            clock: DefaultClock::default(),
        }
    }

    /// Lets a request of this cost in, until the place is given back.
    pub async fn admit(
        &self,
        caller: &Caller,
        cost: usize,
    ) -> Result<OwnedSemaphorePermit, Rejection> {
        let key = key(caller);
        self.spend(&key, cost)?;
        let place = self.place(key).acquire_owned();
        match tokio::time::timeout(PATIENCE, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(limited(
                1,
                format!(
                    "{} requests of this caller are under way",
                    self.rates.at_once
                ),
            )),
        }
    }

    fn spend(&self, key: &String, cost: usize) -> Result<(), Rejection> {
        let cost = u32::try_from(cost)
            .unwrap_or(u32::MAX)
            .min(self.rates.burst.get());
        let Some(cost) = NonZeroU32::new(cost) else {
            return Ok(());
        };
        match self.points.check_key_n(key, cost) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(early)) => {
                let wait = early.wait_time_from(self.clock.now()).as_secs() + 1;
                Err(limited(
                    wait,
                    format!("the points of this caller are spent: come back in {wait} s"),
                ))
            }
            Err(_) => Err(limited(1, "this costs more than the bucket holds".into())),
        }
    }

    fn place(&self, key: String) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() > REMEMBERED {
            places.retain(|_, place| Arc::strong_count(place) > 1);
            self.points.retain_recent();
        }
        let fresh = || Arc::new(Semaphore::new(self.rates.at_once as usize));
        Arc::clone(places.entry(key).or_insert_with(fresh))
    }
}

/// A person or a script in a company, whatever tokens it holds.
fn key(caller: &Caller) -> String {
    match caller.user {
        Some(user) => format!("{}/{}", caller.company.0, user.0),
        None => format!(
            "{}/{}/{}",
            caller.company.0,
            caller.author,
            caller.role.code()
        ),
    }
}

fn limited(wait: u64, message: String) -> Rejection {
    let mut rejection = Rejection::new("RATE_LIMITED", 429, message);
    rejection.details.insert("retryAfter".into(), wait.into());
    rejection
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Role;
    use crate::domain::ids::{CompanyId, Id};

    fn caller(author: &str) -> Caller {
        Caller {
            company: CompanyId::from_uuid(uuid::Uuid::nil()),
            user: None,
            author: author.into(),
            role: Role::Admin,
            scopes: None,
            today: chrono::NaiveDate::MIN,
            approval: None,
        }
    }

    fn limiter(burst: u32, at_once: u32) -> Limiter {
        let number = |number| NonZeroU32::new(number).expect("a number");
        Limiter::new(Rates {
            burst: number(burst),
            per_second: number(1),
            at_once,
        })
    }

    #[tokio::test]
    async fn an_empty_bucket_is_ones_own() {
        let limiter = limiter(100, 5);
        assert!(limiter.admit(&caller("a"), 60).await.is_ok());
        let refused = limiter.admit(&caller("a"), 60).await.expect_err("spent");
        assert_eq!((refused.code, refused.status), ("RATE_LIMITED", 429));
        assert!(
            refused.details["retryAfter"]
                .as_u64()
                .is_some_and(|wait| (10..=21).contains(&wait))
        );
        assert!(limiter.admit(&caller("b"), 60).await.is_ok());
        // What costs more than the bucket takes all of it, once.
        assert!(limiter.admit(&caller("c"), 1_000_000).await.is_ok());
        assert!(limiter.admit(&caller("c"), 1).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_ones_own_places_only() {
        let limiter = limiter(1000, 2);
        let first = limiter.admit(&caller("a"), 1).await.expect("a place");
        let _second = limiter.admit(&caller("a"), 1).await.expect("a place");
        assert!(limiter.admit(&caller("b"), 1).await.is_ok());
        assert_eq!(
            limiter
                .admit(&caller("a"), 1)
                .await
                .expect_err("full")
                .status,
            429
        );
        drop(first);
        assert!(limiter.admit(&caller("a"), 1).await.is_ok());
    }
}
