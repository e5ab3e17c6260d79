"""Where it runs: hardware profiles, clusters, launchers. No part of any fingerprint."""
