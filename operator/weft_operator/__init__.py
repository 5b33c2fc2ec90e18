"""The operator: SyntheticPipelines and AgentPools become Ray clusters, and stay what they say."""
