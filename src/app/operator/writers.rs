//! A cluster without a writer: its gateways are ready for clients, and nothing that these say is
//! decided.

use crate::cluster::View;

/// What to say when no living node decides what is said.
pub(super) fn warning(view: &View) -> Option<String> {
    view.lacks_writer().then(|| {
        "no node with the role `writer` lives: messages wait for one, and rooms that are not open \
         here cannot be joined; start one"
            .into()
    })
}
