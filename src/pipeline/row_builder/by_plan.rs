//! Row builders for chunks of several plans.

use std::sync::Arc;

use crate::domain::Plan;
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::row_builder::RowBuilder;

/// A row builder for each plan that chunks came with.
pub struct RowBuilders {
    made: Vec<RowBuilder>,
    buffers: Arc<BufferPool>,
}

impl RowBuilders {
    pub fn new(buffers: Arc<BufferPool>) -> Self {
        Self { made: Vec::new(), buffers }
    }

    /// Returns the builder for a plan. All chunks of a feed share one plan, so there are few to compare with.
    pub fn of(&mut self, plan: &Arc<Plan>) -> &RowBuilder {
        let known = self.made.iter().position(|builder| Arc::ptr_eq(&builder.plan, plan));
        let at = known.unwrap_or_else(|| {
            self.made.push(RowBuilder::new(Arc::clone(plan), Arc::clone(&self.buffers)));
            self.made.len() - 1
        });
        &self.made[at]
    }
}
