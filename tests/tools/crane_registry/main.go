// Copyright (c) Contributors to the lading.oci project
// SPDX-License-Identifier: GPL-3.0-or-later

// A registry with the Referrers API and with tags that can be deleted: the one that crane's library has.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	address := flag.String("address", "", "host:port to listen on")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*address, registry.New(registry.WithReferrersSupport(true))))
}
