"""The whole product on this machine: its servers, its processes, its administrator, the demo."""
