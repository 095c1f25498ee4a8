//! Labs: a started scenario, its directory, its background process, its life.
