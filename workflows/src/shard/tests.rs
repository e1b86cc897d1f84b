//! Stories of shards, told with commits and effects. The town plays everything around them.

mod acceptance;
mod adoption;
mod breach;
mod budget;
mod check;
mod consent;
mod node;
mod payout;
mod people;
mod programs;
mod random;
mod seals;
mod stages;
mod standing;
mod store;
mod town;
mod withdrawal;
mod words;
