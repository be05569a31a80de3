//! Waiting for conditions with a named deadline.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Looks at `condition` until it gives a value; `what` and `limit` are in the error at the deadline.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not happen within {limit:?}");
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_fails_with_its_name() {
        let result = until::<()>("the moon turning blue", Duration::from_millis(12), || Ok(None));
        let message = result.expect_err("the condition never holds").to_string();
        assert!(message.contains("the moon turning blue"), "{message}");
    }

    #[test]
    fn the_value_of_the_condition_is_handed_on() -> Result<()> {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        })?;
        assert_eq!(value, 3);
        Ok(())
    }
}
