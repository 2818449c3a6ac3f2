//! The [observers](crate::Observer) that the library brings.

mod best_policy;
mod json_lines;
mod lines;
mod tables;
mod tensorboard;

#[cfg(feature = "plot")]
mod learning_curve;
#[cfg(feature = "progress")]
mod progress_bar;

pub use best_policy::BestPolicy;
pub use json_lines::JsonLines;
#[cfg(feature = "plot")]
pub use learning_curve::LearningCurve;
#[cfg(feature = "progress")]
pub use progress_bar::ProgressBar;
pub use tables::{EvaluationTable, MetricsTable};
pub use tensorboard::TensorBoard;
