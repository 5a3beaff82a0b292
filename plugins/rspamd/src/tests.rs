//! The phase against scripted sides. What rspamd and Redis really do is for the tests in the lab.
