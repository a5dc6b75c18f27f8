//! Checks: how they are declared, selected and run, and what a run over connectors makes of them.

mod declared;
mod outcomes;
mod remedies;
mod runs;
mod stage;
