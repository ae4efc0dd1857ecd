"""The portal admin's pages: settings, texts, people, activity."""
