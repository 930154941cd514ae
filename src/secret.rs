//! What stands in the place of a secret, wherever a configuration is shown.

use serde::{Serialize, Serializer};

/// In place of it.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Serializes whether there is one.
pub(crate) fn hidden<S: Serializer>(
    secret: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| HIDDEN).serialize(serializer)
}
