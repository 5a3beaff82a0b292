//! Plan, grants and the run loop of a migration. It never prints and knows no terminal and no wasm: components come through
//! [`Loader`], what happens goes out as [`Event`]s, what a verb found comes back as data. Start at [`Migration`].

mod answer;
mod apply;
pub mod approval;
mod cancel;
mod check;
pub mod error;
pub mod event;
mod failed;
mod gate;
pub mod lock;
mod migration;
mod nearest;
mod next;
pub mod outcome;
pub mod phases;
pub mod plan;
mod preview;
pub mod publisher;
mod resolve;
pub mod sides;
pub mod state;
pub mod status;
mod to_undo;
mod undo;
mod verify;
mod who;
mod work;

pub use answer::Answered;
pub use apply::Scope as ApplyScope;
pub use approval::{Approval, Asking, Less, LetIn, Standing, StrongReader};
pub use cancel::{Cancel, Stop, cancel};
pub use error::{Error, ErrorKind, Explanation, UsageError};
pub use event::{Event, Sink};
pub use failed::PhaseFailed;
pub use gate::{OtherGate, SideGate};
pub use migration::{Migration, Settings};
pub use nearest::nearest;
pub use outcome::{Applied, Findings, PhaseFinding, PhasePreview, Preview, Previewed, Question, Undone};
pub use phases::{LoadFailed, Loader, Looked, Phase, Places, short};
pub use plan::Plan;
pub use resolve::{MachineHere, Rebuilt, Resolved, ToRebuild};
pub use status::Status;
pub use to_undo::{Scope as UndoScope, ToUndo, UndoPlan, UndoProgress};
