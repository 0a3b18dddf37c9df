//! What is made of every picture, and the one place where that may change while the worker runs.

use super::settings_hashes;
use crate::render::Settings;
use std::sync::{Arc, Mutex, PoisonError};

/// Settings of the renditions, and what outputs say of them.
#[derive(Debug)]
pub struct Recipe {
    pub settings: Arc<Settings>,
    /// One hash a rendition, in the order of the specs.
    pub hashes: Vec<String>,
}

/// The recipe of the moment. Clones share it; a picture keeps the one that it began with.
#[derive(Debug, Clone)]
pub struct Recipes(Arc<Mutex<Arc<Recipe>>>);

impl Recipes {
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(Recipe::new(settings)))))
    }

    pub fn current(&self) -> Arc<Recipe> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For pictures that begin from now on.
    pub fn replace(&self, settings: Settings) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Recipe::new(settings));
    }
}

impl Recipe {
    fn new(settings: Settings) -> Self {
        Self { hashes: settings_hashes(&settings), settings: Arc::new(settings) }
    }
}
