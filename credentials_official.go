package cdn

import (
	"context"
	"fmt"
	"reflect"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
)

// validateOfficial refuses credentials that can never sign a request of this service.
func validateOfficial(official *global.Credentials) error {
	switch {
	case official == nil:
		return invalid("Credentials", nil, "must not be nil")
	case official.DerivedPredicate != nil:
		return fmt.Errorf("%w: Credentials: derived signing (DerivedPredicate) is not of this service", ErrInvalidParameter)
	case official.StsAccessor != nil:
		return nil
	}
	return officialKeys(official).signer.validate()
}

// officialKeys returns the keys that official holds.
func officialKeys(official *global.Credentials) credentials {
	return credentials{
		signer:   Signer{AccessKey: official.AK, SecretKey: official.SK, SecurityToken: official.SecurityToken},
		domainID: official.DomainId,
	}
}

// officialFetch returns how to fetch the credentials of WithCredentials. The official SDK's accessors of the
// instance metadata and of id tokens are replaced by this package's: they are not safe for concurrent use, take
// no context, do not retry, follow redirects, and use a proxy. Any other accessor is called.
func (o *options) officialFetch() fetchFunc {
	const option = "WithCredentials"
	official := o.official
	f := newFetcher(o)
	switch {
	case official.StsAccessor == nil:
		return fixed(officialKeys(official))
	case sameType(official.StsAccessor, metadataAccessor()):
		return named(option+", "+metadataName, withDomain(official.DomainId, f.fetchMetadata))
	case sameType(official.StsAccessor, idTokenAccessor()):
		return named(option+", id token", func(ctx context.Context) (credentials, error) {
			return federation{
				fetcher:   f,
				endpoint:  o.identityEndpoint(official.IamEndpoint),
				provider:  official.IdpId,
				tokenFile: official.IdTokenFile,
				domain:    official.DomainId,
			}.fetch(ctx)
		})
	}
	return named(option, func(ctx context.Context) (credentials, error) {
		accessor := accessor{official: official, endpoint: o.identityEndpoint(official.IamEndpoint), transport: o.transport()}
		return retryFetch(ctx, f.policy, accessor.fetch)
	})
}

func sameType(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }

// metadataAccessor returns an accessor such as the official SDK builds for the instance metadata. Its type cannot
// be named here.
func metadataAccessor() any {
	built, err := global.NewCredentialsBuilder().SafeBuild()
	if err != nil {
		return nil
	}
	return built.StsAccessor
}

// idTokenAccessor returns an accessor such as the official SDK builds for an id token.
func idTokenAccessor() any {
	built, err := global.NewCredentialsBuilder().WithIdpId("provider").WithIdTokenFile("file").SafeBuild()
	if err != nil {
		return nil
	}
	return built.StsAccessor
}

// withDomain returns fetch with an account id in its credentials.
func withDomain(id string, fetch fetchFunc) fetchFunc {
	return func(ctx context.Context) (credentials, error) {
		fetched, err := fetch(ctx)
		fetched.domainID = id
		return fetched, err
	}
}
