// committee
