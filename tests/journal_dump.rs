//! Rooms out of a journal into a file, and back, and from one journal into the other.

#[path = "journal_dump/form.rs"]
mod form;
#[path = "journal_dump/rooms.rs"]
mod rooms;
#[path = "journal_dump/world.rs"]
mod world;
